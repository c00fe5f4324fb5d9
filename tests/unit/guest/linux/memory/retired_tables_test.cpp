// SPDX-License-Identifier: MIT
#include "guest/linux/memory/retired_tables.hpp"

#include <array>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "shared/page_table_entry.hpp"

namespace {

using guest::linux::RetiredTables;

struct alignas(4096) Table {
  std::array<std::uint64_t, 512> entries{};
};

abi::Gpa gpa_of(const Table& table) {
  return {reinterpret_cast<std::uint64_t>(&table)};
}

std::uint64_t* entries_of(abi::Gpa table) {
  return reinterpret_cast<std::uint64_t*>(table.value); // NOLINT(performance-no-int-to-ptr)
}

} // namespace

TEST_CASE(
    "a table goes when all have forgotten it, and whoever looks finds nothing there till then") {
  std::vector<Table> tables(4);
  RetiredTables retired(&entries_of);
  CHECK_FALSE(retired.take(1000));
  retired.add(gpa_of(tables[2]), 5);
  retired.add(gpa_of(tables[0]), 5);
  retired.add(gpa_of(tables[3]), 7);
  CHECK(retired.count() == 3);
  for (const Table& table : tables) {
    for (const std::uint64_t entry : table.entries) {
      REQUIRE((entry & abi::page_entry::present) == 0);
    }
  }
  CHECK_FALSE(retired.take(4));
  CHECK(retired.take(5)->value == gpa_of(tables[2]).value);
  CHECK(retired.take(6)->value == gpa_of(tables[0]).value);
  CHECK_FALSE(retired.take(6));
  retired.add(gpa_of(tables[1]), 7);
  CHECK(retired.take(7)->value == gpa_of(tables[3]).value);
  CHECK(retired.take(7)->value == gpa_of(tables[1]).value);
  CHECK_FALSE(retired.take(7));
  CHECK(retired.count() == 0);
  retired.add(gpa_of(tables[1]), 8); // again from the beginning
  CHECK(retired.take(8)->value == gpa_of(tables[1]).value);
}
