// SPDX-License-Identifier: MIT
#include "vmm/hints/batch_validator.hpp"

#include <algorithm>
#include <atomic>

namespace vmm {
namespace {

bool encloses(const CheckedRange& outer, const CheckedRange& inner) {
  return inner.start >= outer.start && inner.start + inner.bytes <= outer.start + outer.bytes;
}

} // namespace

std::string_view name_of(RangeFault fault) {
  switch (fault) {
  case RangeFault::none:
    return "none";
  case RangeFault::reserved_bits:
    return "reserved_bits";
  case RangeFault::unknown_kind:
    return "unknown_kind";
  case RangeFault::bad_order:
    return "bad_order";
  case RangeFault::unaligned:
    return "unaligned";
  case RangeFault::below_managed:
    return "below_managed";
  case RangeFault::beyond_ram:
    return "beyond_ram";
  case RangeFault::span_of_nothing:
    return "span_of_nothing";
  }
  return "?";
}

void copy_descriptors(abi::DescriptorPage& page, std::span<abi::RangeDescriptor> to) {
  const std::size_t count = std::min<std::size_t>(to.size(), abi::max_batch_ranges);
  for (std::size_t i = 0; i < count; ++i) {
    // Atomic, so that the compiler can neither tear the load nor repeat it later.
    to[i].bits = std::atomic_ref(page.ranges[i].bits).load(std::memory_order_relaxed);
  }
}

// Inline: a call for each of 256 ranges costs as much as judging it.
[[gnu::always_inline]] inline CheckedRange
BatchValidator::judge(abi::RangeDescriptor descriptor) const {
  CheckedRange range;
  range.kind = descriptor.kind();
  if (!descriptor.reserved_bits_clear()) {
    range.fault = RangeFault::reserved_bits;
    return range;
  }
  if (range.kind != abi::RangeKind::hint && range.kind != abi::RangeKind::span) {
    range.fault = RangeFault::unknown_kind;
    return range;
  }
  const abi::Order order = descriptor.order();
  if (order.value > abi::max_order) {
    range.fault = RangeFault::bad_order;
    return range;
  }
  const abi::Pfn first = descriptor.pfn();
  if (first.value % order.frames() != 0) {
    range.fault = RangeFault::unaligned;
    return range;
  }
  // Compared as addresses, because the guest chose the start: rounding it up could overflow.
  if (abi::to_gpa(first) < managed_.start) {
    range.fault = RangeFault::below_managed;
    return range;
  }
  // In frames and by subtraction: neither side can overflow, whatever the guest wrote.
  const abi::Pfn end = abi::to_pfn(managed_.end);
  if (first > end || order.frames() > end - first) {
    range.fault = RangeFault::beyond_ram;
    return range;
  }
  if (managed_.hole.touches(abi::to_gpa(first), abi::to_gpa(first + order.frames()))) {
    range.fault = RangeFault::beyond_ram;
    return range;
  }
  range.start = abi::to_gpa(first);
  range.bytes = static_cast<std::uint32_t>(order.bytes());
  return range;
}

void BatchValidator::validate(std::span<const abi::RangeDescriptor> copy, CheckedBatch& out) {
  out.count = static_cast<std::uint32_t>(std::min<std::size_t>(copy.size(), abi::max_batch_ranges));
  std::uint32_t span = CheckedRange::no_span; // the span that is open
  bool span_used = false;
  const auto close_span = [&] {
    if (span != CheckedRange::no_span && !span_used) {
      // Nothing asked for: whatever the guest means by it, its memory is not worth the risk.
      out.storage[span].fault = RangeFault::span_of_nothing;
    }
    span = CheckedRange::no_span;
  };
  for (std::uint32_t i = 0; i < out.count; ++i) {
    CheckedRange& range = out.storage[i];
    range = judge(copy[i]);
    if (range.kind == abi::RangeKind::span) {
      close_span();
      if (range.accepted()) {
        span = i;
        span_used = false;
      }
      continue;
    }
    // A bad descriptor says nothing about where the open span ends.
    if (!range.accepted() || span == CheckedRange::no_span) {
      continue;
    }
    if (encloses(out.storage[span], range)) {
      range.enclosing_span = static_cast<std::uint16_t>(span);
      span_used = true;
    } else {
      close_span();
    }
  }
  close_span();
  std::uint64_t accepted = 0;
  std::uint64_t accepted_hints = 0;
  for (const CheckedRange& range : out.ranges()) {
    if (range.accepted()) [[likely]] {
      ++accepted;
      accepted_hints += range.kind == abi::RangeKind::hint ? 1 : 0;
    } else {
      counts_[static_cast<std::size_t>(range.fault)].add();
    }
  }
  counts_[static_cast<std::size_t>(RangeFault::none)].add(accepted);
  accepted_hints_.add(accepted_hints);
}

std::uint64_t BatchValidator::rejected_ranges() const {
  std::uint64_t sum = 0;
  for (const Counter& count : counts_) {
    sum += count.value();
  }
  return sum - count_of(RangeFault::none);
}

} // namespace vmm
