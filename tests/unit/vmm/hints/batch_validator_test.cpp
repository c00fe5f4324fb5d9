// SPDX-License-Identifier: MIT
#include "vmm/hints/batch_validator.hpp"

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

using abi::Order;
using abi::Pfn;
using abi::RangeDescriptor;
using abi::RangeKind;
using vmm::CheckedRange;
using vmm::RangeFault;

namespace {

// Managed frames [512, 8192): 2 MiB to 32 MiB.
constexpr vmm::ManagedRange managed{{512 * abi::page_bytes}, {8192 * abi::page_bytes}};

RangeDescriptor hint(std::uint64_t pfn, unsigned order) {
  return RangeDescriptor::make(Pfn{pfn}, Order{static_cast<std::uint8_t>(order)}, RangeKind::hint);
}

RangeDescriptor span(std::uint64_t pfn, unsigned order) {
  return RangeDescriptor::make(Pfn{pfn}, Order{static_cast<std::uint8_t>(order)}, RangeKind::span);
}

struct Validation {
  vmm::BatchValidator validator{managed};
  vmm::CheckedBatch batch;

  explicit Validation(const std::vector<RangeDescriptor>& descriptors) {
    validator.validate(descriptors, batch);
  }
  Validation(const std::vector<RangeDescriptor>& descriptors, vmm::ManagedRange range) {
    validator.set_managed(range);
    validator.validate(descriptors, batch);
  }
  [[nodiscard]] const CheckedRange& at(std::size_t i) const { return batch.ranges()[i]; }
};

RangeFault fault_of(RangeDescriptor descriptor) {
  return Validation({descriptor}).at(0).fault;
}

} // namespace

TEST_CASE("an accepted hint carries its address and length") {
  const Validation v({hint(1024, 9), hint(513, 0)});
  REQUIRE(v.batch.ranges().size() == 2);
  CHECK(v.at(0).accepted());
  CHECK(v.at(0).start == abi::Gpa{1024 * abi::page_bytes});
  CHECK(v.at(0).bytes == 2U << 20);
  CHECK(v.at(0).kind == RangeKind::hint);
  CHECK(v.at(0).enclosing_span == CheckedRange::no_span);
  CHECK(v.at(1).bytes == 4096);
  CHECK(v.validator.count_of(RangeFault::none) == 2);
}

TEST_CASE("each way to be wrong has its own fault and counter") {
  const std::vector<RangeDescriptor> bad = {
      {hint(1024, 0).bits | (std::uint64_t{1} << 46)}, // lowest reserved bit
      {hint(1024, 0).bits | (std::uint64_t{1} << 63)}, // highest
      {hint(1024, 0).bits | (std::uint64_t{2} << 44)}, // kind 2
      {hint(1024, 0).bits | (std::uint64_t{3} << 44)}, // kind 3
      hint(1024, abi::max_order + 1),
      hint(0, 15),
      hint(1025, 1),
      hint(1024 + 256, 9),
      hint(511, 0),
      hint(0, 0),
      hint(8192, 0),
      hint(8192, 10),
  };
  const std::vector<RangeFault> expected = {
      RangeFault::reserved_bits, RangeFault::reserved_bits, RangeFault::unknown_kind,
      RangeFault::unknown_kind,  RangeFault::bad_order,     RangeFault::bad_order,
      RangeFault::unaligned,     RangeFault::unaligned,     RangeFault::below_managed,
      RangeFault::below_managed, RangeFault::beyond_ram,    RangeFault::beyond_ram,
  };
  const Validation v(bad);
  for (std::size_t i = 0; i < bad.size(); ++i) {
    CAPTURE(i);
    CHECK(v.at(i).fault == expected[i]);
  }
  CHECK(v.validator.count_of(RangeFault::none) == 0);
  CHECK(v.validator.count_of(RangeFault::reserved_bits) == 2);
  CHECK(v.validator.count_of(RangeFault::unknown_kind) == 2);
  CHECK(v.validator.count_of(RangeFault::bad_order) == 2);
  CHECK(v.validator.count_of(RangeFault::unaligned) == 2);
  CHECK(v.validator.count_of(RangeFault::below_managed) == 2);
  CHECK(v.validator.count_of(RangeFault::beyond_ram) == 2);
}

TEST_CASE("bounds are exact for every order") {
  for (unsigned order = 0; order <= abi::max_order; ++order) {
    CAPTURE(order);
    const std::uint64_t frames = std::uint64_t{1} << order;
    CHECK(fault_of(hint(8192 - frames, order)) == RangeFault::none);
    CHECK(fault_of(hint(8192, order)) == RangeFault::beyond_ram);
    // The first aligned block that is not below 512, and the one before it.
    const std::uint64_t first = frames > 512 ? frames : 512;
    CHECK(fault_of(hint(first, order)) == RangeFault::none);
    CHECK(fault_of(hint(first - frames, order)) == RangeFault::below_managed);
  }
}

TEST_CASE("a block that crosses the end of RAM is beyond it") {
  const Validation v({hint(7168, 10)}, {{0}, {(7168 + 1023) * abi::page_bytes}});
  CHECK(v.at(0).fault == RangeFault::beyond_ram);
}

TEST_CASE("a block in the hole of RAM is not RAM, its neighbours are") {
  const vmm::ManagedRange around_a_hole{
      {0}, {8192 * abi::page_bytes}, {{2048 * abi::page_bytes}, {4096 * abi::page_bytes}}};
  const Validation v({hint(2048, 0), hint(4095, 0), hint(2048, 10), hint(3072, 10), hint(1024, 10),
                      hint(2047, 0), hint(4096, 10)},
                     around_a_hole);
  for (const std::size_t i : {0U, 1U, 2U, 3U}) {
    CHECK(v.at(i).fault == RangeFault::beyond_ram);
  }
  for (const std::size_t i : {4U, 5U, 6U}) {
    CHECK(v.at(i).fault == RangeFault::none);
  }
}

TEST_CASE("the largest frame numbers do not wrap around") {
  constexpr std::uint64_t last = (std::uint64_t{1} << 40) - 1;
  CHECK(fault_of(hint(last, 0)) == RangeFault::beyond_ram);
  CHECK(fault_of(hint(last - 1023, 10)) == RangeFault::beyond_ram);
  CHECK(fault_of(hint(last, 10)) == RangeFault::unaligned);
}

TEST_CASE("hostile or empty managed ranges accept nothing") {
  constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
  CHECK_FALSE(Validation({hint(1024, 0)}, {}).at(0).accepted());
  CHECK_FALSE(Validation({hint(0, 0)}, {}).at(0).accepted());
  CHECK_FALSE(Validation({hint(0, 0)}, {{huge}, {1U << 20}}).at(0).accepted());
  CHECK_FALSE(Validation({hint(1024, 0)}, {{8U << 20}, {4U << 20}}).at(0).accepted());
  // A start inside a page excludes that page.
  CHECK_FALSE(Validation({hint(1, 0)}, {{4097}, {1U << 20}}).at(0).accepted());
  CHECK(Validation({hint(2, 0)}, {{4097}, {1U << 20}}).at(0).accepted());
}

TEST_CASE("any bit pattern gets a verdict, and an accepted one lies within the managed range") {
  vmm::BatchValidator validator(managed);
  const auto batch = std::make_unique<vmm::CheckedBatch>();
  std::uint64_t state = 0x9e3779b97f4a7c15;
  std::vector<RangeDescriptor> descriptors(abi::max_batch_ranges);
  for (int round = 0; round < 200; ++round) {
    for (RangeDescriptor& descriptor : descriptors) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      // Half of them near validity: few frame bits, no reserved bits.
      descriptor.bits =
          (state & 1) != 0 ? state : (state & 0x2fff) | (state & (std::uint64_t{0x1f} << 40));
    }
    validator.validate(descriptors, *batch);
    for (const CheckedRange& range : batch->ranges()) {
      if (range.accepted()) {
        REQUIRE(range.start >= managed.start);
        REQUIRE(range.start + range.bytes <= managed.end);
        REQUIRE(range.start.value % range.bytes == 0);
      }
    }
  }
  std::uint64_t total = 0;
  for (std::size_t fault = 0; fault < vmm::range_fault_count; ++fault) {
    total += validator.count_of(static_cast<RangeFault>(fault));
  }
  CHECK(total == 200 * abi::max_batch_ranges);
  CHECK(validator.count_of(RangeFault::none) > 0);
}

TEST_CASE("a span encloses the hints that follow it until the first outside") {
  const Validation v({hint(600, 0), span(1024, 9), hint(1024, 0), hint(1028, 2), hint(1535, 0),
                      hint(1536, 0), hint(1030, 0), span(2048, 9), hint(2048, 9)});
  CHECK(v.at(0).enclosing_span == CheckedRange::no_span);
  CHECK(v.at(1).accepted());
  CHECK(v.at(2).enclosing_span == 1);
  CHECK(v.at(3).enclosing_span == 1);
  CHECK(v.at(4).enclosing_span == 1);
  CHECK(v.at(5).enclosing_span == CheckedRange::no_span);
  CHECK(v.at(6).enclosing_span == CheckedRange::no_span); // the span has ended
  CHECK(v.at(8).enclosing_span == 7);
  CHECK(v.validator.count_of(RangeFault::none) == 9);
}

TEST_CASE("a hint larger than the span before it stands alone") {
  const Validation v({span(1024, 9), hint(1024, 10)});
  CHECK(v.at(0).fault == RangeFault::span_of_nothing);
  CHECK(v.at(1).enclosing_span == CheckedRange::no_span);
}

TEST_CASE("a span without an accepted hint of its own is a fault") {
  const Validation last({hint(600, 0), span(1024, 9)});
  CHECK(last.at(1).fault == RangeFault::span_of_nothing);
  CHECK(last.validator.count_of(RangeFault::span_of_nothing) == 1);
  CHECK(last.validator.count_of(RangeFault::none) == 1);

  const Validation doubled({span(1024, 9), span(1024, 9), hint(1024, 0)});
  CHECK(doubled.at(0).fault == RangeFault::span_of_nothing);
  CHECK(doubled.at(1).accepted());
  CHECK(doubled.at(2).enclosing_span == 1);

  const Validation bad_hint({span(1024, 9), hint(1025, 1)});
  CHECK(bad_hint.at(0).fault == RangeFault::span_of_nothing);
}

TEST_CASE("a bad hint neither ends a span nor joins it; a bad span encloses nothing") {
  const Validation v({span(1024, 9), hint(1025, 1), hint(1026, 1), span(8192, 9), hint(1028, 0)});
  CHECK(v.at(0).accepted());
  CHECK(v.at(1).fault == RangeFault::unaligned);
  CHECK(v.at(1).enclosing_span == CheckedRange::no_span);
  CHECK(v.at(2).enclosing_span == 0);
  CHECK(v.at(3).fault == RangeFault::beyond_ram);
  CHECK(v.at(4).enclosing_span == CheckedRange::no_span);
}

TEST_CASE("no more than a full batch is looked at, and nothing of the one before remains") {
  vmm::BatchValidator validator(managed);
  const auto batch = std::make_unique<vmm::CheckedBatch>();
  validator.validate(std::vector<RangeDescriptor>(abi::max_batch_ranges + 1, hint(1024, 0)),
                     *batch);
  CHECK(batch->ranges().size() == abi::max_batch_ranges);
  validator.validate(std::vector<RangeDescriptor>{span(1024, 9), hint(1024, 0)}, *batch);
  CHECK(batch->ranges().size() == 2);
  validator.validate(std::vector<RangeDescriptor>{hint(1024, 0), hint(1024, 0)}, *batch);
  CHECK(batch->ranges()[1].enclosing_span == CheckedRange::no_span);
  validator.validate({}, *batch);
  CHECK(batch->ranges().empty());
}

TEST_CASE("descriptors are copied as far as asked") {
  const auto page = std::make_unique<abi::DescriptorPage>();
  for (std::uint32_t i = 0; i < abi::max_batch_ranges; ++i) {
    page->ranges[i].bits = i + 1;
  }
  std::vector<RangeDescriptor> copy(abi::max_batch_ranges);
  vmm::copy_descriptors(*page, std::span(copy).first(3));
  CHECK(copy[2].bits == 3);
  CHECK(copy[3].bits == 0);
  vmm::copy_descriptors(*page, copy);
  CHECK(copy[511].bits == 512);
}
