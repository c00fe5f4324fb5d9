// SPDX-License-Identifier: MIT
// Who has which cache line: counts how often one has to come from another processor's cache.
//
// Model: each processor has a cache of its own without limits, lines of 64 bytes, and the states of
// MESI without the exclusive one: a line is shared by those that have read it, or modified by one.
// A read of a line that others have, or a write to one that others have, moves it: a transfer. The
// first touch of a line comes from memory and is none.
#pragma once

#include <cstdint>
#include <unordered_map>

namespace sharing {

enum class Access : std::uint8_t { read, write };

class CacheLines {
 public:
  static constexpr unsigned line_shift = 6;
  static constexpr unsigned most_processors = 64;

  // Processor `who`, below most_processors, touches [address, address + bytes), at least one byte.
  void touch(unsigned who, std::uint64_t address, std::uint64_t bytes, Access access);

  struct Counts {
    std::uint64_t accesses = 0;
    std::uint64_t transfers = 0;
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }
  // Transfers of each line (address >> line_shift).
  [[nodiscard]] const std::unordered_map<std::uint64_t, std::uint64_t>& transfers_by_line() const {
    return transfers_;
  }

  // Counts anew. Who has what stays.
  void reset_counts();

 private:
  void touch_line(unsigned who, std::uint64_t line, Access access);

  std::unordered_map<std::uint64_t, std::uint64_t> holders_; // line: bit per processor that has it
  std::unordered_map<std::uint64_t, std::uint64_t> transfers_;
  Counts counts_;
};

} // namespace sharing
