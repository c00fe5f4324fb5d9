// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_checker.hpp"

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

using abi::FrameKind;
using abi::FrameTag;
using abi::Gpa;
using abi::Order;
using abi::Pfn;
using abi::RangeKind;
using vmm::HintChecker;
using Reason = vmm::HintViolation::Reason;

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();

vmm::CheckedRange range(std::uint64_t pfn, unsigned order, RangeKind kind = RangeKind::hint) {
  vmm::CheckedRange result;
  result.start = abi::to_gpa(Pfn{pfn});
  result.bytes = static_cast<std::uint32_t>(abi::page_bytes << order);
  result.kind = kind;
  return result;
}

// Tags at 1 MiB for the frames from 512 on.
struct Tags {
  vmm::GuestMemory memory =
      std::move(*vmm::GuestMemory::create(8 * mib, vmm::Backing::small_pages));
  HintChecker checker{memory, Gpa{1 * mib}, Pfn{512}};

  void set(std::uint64_t pfn, FrameTag tag) {
    *memory.object_at<FrameTag>(Gpa{1 * mib + pfn - 512}) = tag;
  }
  [[nodiscard]] static std::optional<vmm::HintViolation>
  check(const HintChecker& with, const std::vector<vmm::CheckedRange>& ranges) {
    const auto batch = std::make_unique<vmm::CheckedBatch>();
    std::copy(ranges.begin(), ranges.end(), batch->storage.begin());
    batch->count = static_cast<std::uint32_t>(ranges.size());
    return with.check(*batch);
  }
  [[nodiscard]] std::optional<vmm::HintViolation>
  check(const std::vector<vmm::CheckedRange>& ranges) const {
    return check(checker, ranges);
  }
};

std::optional<Reason> reason_of(const std::optional<vmm::HintViolation>& found) {
  return found ? std::optional(found->reason) : std::nullopt;
}

} // namespace

TEST_CASE("a hint's first frame is isolated, with its order; the audit bit does not matter") {
  Tags tags;
  FrameTag tag = FrameTag::make(FrameKind::isolated, Order{3});
  tag.bits |= FrameTag::audit_bit;
  tags.set(520, tag);
  tags.set(1024, FrameTag::make(FrameKind::isolated, Order{0}));
  CHECK_FALSE(tags.check({range(520, 3), range(1024, 0)}));
  CHECK(reason_of(tags.check({range(1024, 0), range(520, 2)})) == Reason::wrong_order);
}

TEST_CASE("any other kind of first frame is a violation, described in one line") {
  for (unsigned kind = 0; kind < 8; ++kind) {
    CAPTURE(kind);
    Tags tags;
    tags.set(1024, FrameTag::make(static_cast<FrameKind>(kind), Order{9}));
    const auto found = tags.check({range(1024, 9)});
    CHECK(found.has_value() == (static_cast<FrameKind>(kind) != FrameKind::isolated));
    if (found) {
      CHECK(found->reason == Reason::not_isolated);
    }
  }
  Tags tags;
  tags.set(1024, FrameTag::make(FrameKind::allocated, Order{2}));
  const auto found = tags.check({range(1024, 9)});
  CHECK(found.value_or(vmm::HintViolation{}).describe() ==
        "hint of a live range: gpa 0x400000, order 9, tag allocated order 2");
}

TEST_CASE("a span's head is anything but in use") {
  for (unsigned kind = 0; kind < 8; ++kind) {
    CAPTURE(kind);
    Tags tags;
    const auto as_kind = static_cast<FrameKind>(kind);
    tags.set(1024, FrameTag::make(as_kind, Order{0}));
    const auto found = tags.check({range(1024, 9, RangeKind::span)});
    CHECK(found.has_value() == (as_kind == FrameKind::allocated || as_kind == FrameKind::movable ||
                                as_kind == FrameKind::cached));
  }
}

TEST_CASE("ranges that are not accepted are not looked at") {
  Tags tags;
  vmm::CheckedRange bad = range(1024, 9);
  bad.fault = vmm::RangeFault::unaligned;
  CHECK_FALSE(tags.check({bad}));
  CHECK_FALSE(tags.check({}));
}

TEST_CASE("a tag array that is nowhere, or wraps around, is a violation and nothing worse") {
  const Tags tags;
  for (const HintChecker& checker :
       {HintChecker(tags.memory, Gpa{8 * mib}, Pfn{512}),
        HintChecker(tags.memory, Gpa{8 * mib - 512}, Pfn{512}),
        HintChecker(tags.memory, Gpa{huge}, Pfn{512}), HintChecker(tags.memory, Gpa{huge}, Pfn{0}),
        HintChecker(tags.memory, Gpa{huge - 511}, Pfn{512}),
        HintChecker(tags.memory, Gpa{0}, Pfn{1025}), HintChecker(tags.memory, Gpa{0}, Pfn{huge})}) {
    CHECK(reason_of(Tags::check(checker, {range(1024, 9)})) == Reason::tag_outside_ram);
  }
}
