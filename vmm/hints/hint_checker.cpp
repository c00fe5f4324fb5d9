// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_checker.hpp"

#include <atomic>
#include <bit>
#include <limits>
#include <string_view>

#include <fmt/core.h>

namespace vmm {
namespace {

std::string_view name_of(abi::FrameKind kind) {
  switch (kind) {
  case abi::FrameKind::none:
    return "none";
  case abi::FrameKind::allocated:
    return "allocated";
  case abi::FrameKind::cached:
    return "cached";
  case abi::FrameKind::fresh:
    return "fresh";
  case abi::FrameKind::reported:
    return "reported";
  case abi::FrameKind::declined:
    return "declined";
  case abi::FrameKind::isolated:
    return "isolated";
  case abi::FrameKind::movable:
    return "movable";
  }
  return "undefined";
}

std::string_view name_of(HintViolation::Reason reason) {
  switch (reason) {
  case HintViolation::Reason::tag_outside_ram:
    return "hint outside of the tag array";
  case HintViolation::Reason::not_isolated:
    return "hint of a live range";
  case HintViolation::Reason::wrong_order:
    return "hint of another order than its tag";
  case HintViolation::Reason::span_in_use:
    return "span of a live range";
  }
  return "?";
}

std::optional<HintViolation::Reason> contradiction(const CheckedRange& range, abi::Order order,
                                                   abi::FrameTag tag) {
  if (range.kind == abi::RangeKind::span) {
    // The head may be any free part of the block, or frames that were never handed out.
    const bool in_use = tag.kind() == abi::FrameKind::allocated ||
                        tag.kind() == abi::FrameKind::movable ||
                        tag.kind() == abi::FrameKind::cached;
    return in_use ? std::optional(HintViolation::Reason::span_in_use) : std::nullopt;
  }
  if (tag.kind() != abi::FrameKind::isolated) {
    return HintViolation::Reason::not_isolated;
  }
  if (tag.order() != order) {
    return HintViolation::Reason::wrong_order;
  }
  return std::nullopt;
}

} // namespace

std::string HintViolation::describe() const {
  return fmt::format("{}: gpa {:#x}, order {}, tag {} order {}", name_of(reason), start.value,
                     order.value, name_of(tag.kind()), tag.order().value);
}

std::optional<HintViolation> HintChecker::check(const CheckedBatch& batch) const {
  for (const CheckedRange& range : batch.ranges()) {
    if (!range.accepted()) {
      continue;
    }
    HintViolation violation;
    violation.kind = range.kind;
    violation.start = range.start;
    violation.order = {static_cast<std::uint8_t>(std::countr_zero(range.bytes) -
                                                 static_cast<int>(abi::page_shift))};
    const std::optional<abi::FrameTag> tag = tag_of(abi::to_pfn(range.start));
    if (!tag) {
      violation.reason = HintViolation::Reason::tag_outside_ram;
      return violation;
    }
    violation.tag = *tag;
    if (const auto reason = contradiction(range, violation.order, *tag)) {
      violation.reason = *reason;
      return violation;
    }
  }
  return std::nullopt;
}

std::optional<abi::FrameTag> HintChecker::tag_of(abi::Pfn pfn) const {
  if (pfn < first_pfn_) {
    return std::nullopt;
  }
  const std::uint64_t index = pfn - first_pfn_;
  if (index > std::numeric_limits<std::uint64_t>::max() - tags_.value) {
    return std::nullopt;
  }
  std::uint8_t* const tag = memory_->object_at<std::uint8_t>(tags_ + index);
  if (tag == nullptr) {
    return std::nullopt;
  }
  return abi::FrameTag{std::atomic_ref(*tag).load(std::memory_order_relaxed)};
}

} // namespace vmm
