// SPDX-License-Identifier: MIT
#include "vmm/hints/range_coalescer.hpp"

#include <algorithm>
#include <cstddef>

namespace vmm {
namespace {

bool is_selected(std::span<const CheckedRange> ranges, const CheckedRange& range,
                 RunSelection selection) {
  if (!range.accepted()) {
    return false;
  }
  if (range.kind == abi::RangeKind::span && selection.span_use == SpanUse::hints_only) {
    return false;
  }
  if (range.bytes >= selection.smallest.bytes()) {
    return true;
  }
  return selection.span_use == SpanUse::whole && range.enclosing_span != CheckedRange::no_span &&
         ranges[range.enclosing_span].bytes >= selection.smallest.bytes();
}

} // namespace

void coalesce(std::span<const CheckedRange> ranges, RunSelection selection, CoalescedRuns& out) {
  // Sorted is one word per range: frame number (40 bits), then descriptor number, which also
  // keeps a span ahead of the hint that starts where it does.
  constexpr unsigned index_bits = 16;
  std::array<std::uint64_t, abi::max_batch_ranges> keys; // only [0, count) is written and read
  std::size_t count = 0;
  bool sorted = true;
  const std::size_t limit = std::min<std::size_t>(ranges.size(), abi::max_batch_ranges);
  for (std::size_t i = 0; i < limit; ++i) {
    if (is_selected(ranges, ranges[i], selection)) {
      keys[count] = (abi::to_pfn(ranges[i].start).value << index_bits) | i;
      sorted = sorted && (count == 0 || keys[count - 1] < keys[count]);
      ++count;
    }
  }
  if (!sorted) {
    std::sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count));
  }

  out.run_count = 0;
  abi::Gpa end; // of the last run
  for (std::uint32_t member = 0; member < count; ++member) {
    const auto index = static_cast<std::uint16_t>(keys[member] & ((1U << index_bits) - 1));
    const CheckedRange& range = ranges[index];
    out.member_storage[member] = index;
    if (out.run_count != 0 && range.start <= end) {
      Run& last = out.run_storage[out.run_count - 1];
      end = std::max(end, range.start + range.bytes);
      last.bytes = end - last.start;
      ++last.member_count;
    } else {
      end = range.start + range.bytes;
      out.run_storage[out.run_count++] = Run{range.start, range.bytes, member, 1};
    }
  }
}

} // namespace vmm
