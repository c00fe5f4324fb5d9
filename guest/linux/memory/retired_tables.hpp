// SPDX-License-Identifier: MIT
// Page tables that nothing leads to any more, while a vCPU that rests may remember the way there:
// it uses no address behind it before it forgets, but looks ahead, and sets accessed bits in what
// it takes for entries (SDM vol. 3, 4.10.3). So they stay tables until all have forgotten.
//
// In the order in which they came, linked through their own first entries: those are even, and so
// none that are present. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "shared/address.hpp"

namespace guest::linux {

class RetiredTables {
 public:
  // A table's entries.
  using Entries = std::uint64_t* (*)(abi::Gpa table);

  explicit RetiredTables(Entries entries) : entries_(entries) {}

  // Behind the stop of that number (KernelLock::stops()), which is none before the last one's.
  void add(abi::Gpa table, std::uint64_t stop);
  // One that all have forgotten who have seen that stop; empty: none.
  [[nodiscard]] std::optional<abi::Gpa> take(std::uint64_t seen);
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  enum : std::size_t { next_entry, stop_entry }; // which hold the link

  Entries entries_;
  abi::Gpa first_{};
  abi::Gpa last_{};
  std::size_t count_ = 0;
};

} // namespace guest::linux
