// SPDX-License-Identifier: MIT
// Memory that comes when it is touched: frames from anywhere, put behind addresses above RAM.
#pragma once

#include <cstdint>

#include "guest/linux/memory/area_list.hpp"
#include "guest/linux/memory/frames.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace guest::linux {

class DemandPages {
 public:
  // Both outlive this.
  DemandPages(Frames& frames, PageTables& tables) : frames_(frames), tables_(tables) {}

  // Sees to it that there is memory behind the page at an address, zero if it is new. What lies
  // around it in the area gets some as well, as long as there is plenty. False: out of memory.
  [[nodiscard]] bool commit(const Area& area, std::uint64_t address);
  // Behind all pages of [start, end), in as few pieces as can be. False: out of memory; some may
  // have been put there.
  [[nodiscard]] bool populate(std::uint64_t start, std::uint64_t end, Protection protection);

 private:
  [[nodiscard]] bool put(std::uint64_t address, abi::Order order, Protection protection);
  [[nodiscard]] abi::Order order_of_first_try() const;

  Frames& frames_;
  PageTables& tables_;
};

} // namespace guest::linux
