// SPDX-License-Identifier: MIT
#include "guest/linux/memory/retired_tables.hpp"

#include <atomic>

namespace guest::linux {

void RetiredTables::add(abi::Gpa table, std::uint64_t stop) {
  // The processor may look meanwhile.
  const auto set = [this](abi::Gpa of, std::size_t index, std::uint64_t entry) {
    std::atomic_ref(entries_(of)[index]).store(entry, std::memory_order_relaxed);
  };
  set(table, next_entry, 0);
  set(table, stop_entry, stop << 1);
  if (count_++ == 0) {
    first_ = table;
  } else {
    set(last_, next_entry, table.value);
  }
  last_ = table;
}

std::optional<abi::Gpa> RetiredTables::take(std::uint64_t seen) {
  if (count_ == 0 || entries_(first_)[stop_entry] >> 1 > seen) {
    return std::nullopt;
  }
  --count_;
  const abi::Gpa table = first_;
  first_ = {entries_(table)[next_entry]};
  return table;
}

} // namespace guest::linux
