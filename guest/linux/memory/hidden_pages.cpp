// SPDX-License-Identifier: MIT
#include "guest/linux/memory/hidden_pages.hpp"

#include <algorithm>

namespace guest::linux {

namespace {

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t at_once_bytes = std::uint64_t{256} << 10; // as DemandPages

} // namespace

Supply HiddenPages::commit(const Area& area, std::uint64_t address) {
  if (!tables_.is_hidden(address)) {
    return Supply::there;
  }
  const std::uint64_t touched = abi::align_down(address, page);
  const std::uint64_t block = abi::align_down(address, at_once_bytes);
  std::uint64_t start = touched;
  while (start > std::max(area.start, block) && tables_.is_hidden(start - page)) {
    start -= page;
  }
  std::uint64_t end = touched + page;
  while (end < std::min(area.end, block + at_once_bytes) && tables_.is_hidden(end)) {
    end += page;
  }
  if (!tables_.cut(start) || !tables_.cut(end)) {
    return Supply::out_of_memory;
  }
  tables_.reveal(start, end, read_write); // whoever loads it may write there by its address
  const Or<std::uint64_t> bytes = contents_.load(area.content.at(start - area.start),
                                                 abi::to_pfn({start}), (end - start) / page);
  const std::uint64_t shown =
      std::min(end, start + abi::align_up(bytes.value_or(0), std::uint64_t{page}));
  if (shown < end) {
    tables_.hide(shown, end);
  }
  if (shown > start) {
    tables_.protect(start, shown, area.protection);
  }
  return touched < shown ? Supply::there : Supply::nothing_to_show;
}

Supply HiddenPages::populate(const Area& area) {
  for (std::uint64_t address = area.start; address < area.end; address += page) {
    if (const Supply supply = commit(area, address); supply != Supply::there) {
      return supply;
    }
  }
  return Supply::there;
}

bool HiddenPages::give_up(const Area& area, std::uint64_t address) {
  const std::uint64_t start = abi::align_down(address, page);
  if (!tables_.cut(start) || !tables_.cut(start + page)) {
    return false;
  }
  tables_.reveal(start, start + page, area.protection);
  return true;
}

} // namespace guest::linux
