// SPDX-License-Identifier: MIT
#include "tools/lab/sim/cache_lines.hpp"

#include <doctest/doctest.h>

namespace {

using sharing::Access;
using sharing::CacheLines;

constexpr std::uint64_t place = 0x1000;

std::uint64_t transfers(const CacheLines& lines) {
  return lines.counts().transfers;
}

} // namespace

TEST_CASE("cache lines: what one processor alone uses never moves") {
  CacheLines lines;
  for (const Access access : {Access::read, Access::write, Access::read, Access::write}) {
    lines.touch(3, place, 8, access);
  }
  CHECK(transfers(lines) == 0);
  CHECK(lines.counts().accesses == 4);
}

TEST_CASE("cache lines: what all read moves once to each, until somebody writes it") {
  CacheLines lines;
  lines.touch(0, place, 8, Access::write);
  for (int round = 0; round < 3; ++round) {
    for (unsigned who = 0; who < 4; ++who) {
      lines.touch(who, place, 8, Access::read);
    }
  }
  CHECK(transfers(lines) == 3);
  lines.touch(2, place, 8, Access::write); // it has the line, but not alone
  CHECK(transfers(lines) == 4);
  lines.touch(2, place, 8, Access::write);
  lines.touch(2, place, 8, Access::read);
  CHECK(transfers(lines) == 4);
  lines.touch(0, place, 8, Access::read);
  CHECK(transfers(lines) == 5);
}

TEST_CASE(
    "cache lines: what two write in turns moves each time, also where only the line is the same") {
  CacheLines lines;
  for (int round = 0; round < 10; ++round) {
    lines.touch(0, place, 8, Access::write);
    lines.touch(1, place + 56, 8, Access::write);
  }
  CHECK(transfers(lines) == 19);
  CHECK(lines.transfers_by_line().at(place >> CacheLines::line_shift) == 19);
  lines.reset_counts();
  lines.touch(0, place + 64, 8, Access::write); // the next line
  CHECK(transfers(lines) == 0);
  lines.touch(0, place, 1, Access::write); // still the other's
  CHECK(transfers(lines) == 1);
}

TEST_CASE("cache lines: an access across a border touches both") {
  CacheLines lines;
  lines.touch(0, place + 60, 8, Access::write);
  CHECK(lines.counts().accesses == 2);
  lines.touch(1, place, 1, Access::read);
  lines.touch(1, place + 64, 1, Access::read);
  CHECK(transfers(lines) == 2);
  lines.touch(63, place, 0x1000, Access::read);
  CHECK(transfers(lines) == 4);
}
