// SPDX-License-Identifier: MIT
#include "tools/lab/sim/cache_lines.hpp"

#include <cassert>

namespace sharing {

void CacheLines::touch(unsigned who, std::uint64_t address, std::uint64_t bytes, Access access) {
  assert(who < most_processors && bytes > 0);
  const std::uint64_t last = (address + bytes - 1) >> line_shift;
  for (std::uint64_t line = address >> line_shift; line <= last; ++line) {
    touch_line(who, line, access);
  }
}

// A line that only one has may be written by it, whether it has read or written it before.
void CacheLines::touch_line(unsigned who, std::uint64_t line, Access access) {
  ++counts_.accesses;
  const std::uint64_t mine = std::uint64_t{1} << who;
  std::uint64_t& holders = holders_[line];
  const bool here = access == Access::read ? (holders & mine) != 0 : holders == mine;
  if (!here && (holders & ~mine) != 0) {
    ++counts_.transfers;
    ++transfers_[line];
  }
  holders = access == Access::read ? holders | mine : mine;
}

void CacheLines::reset_counts() {
  counts_ = {};
  transfers_.clear();
}

} // namespace sharing
