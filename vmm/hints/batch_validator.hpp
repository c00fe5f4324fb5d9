// SPDX-License-Identifier: MIT
// Judges the descriptors of one batch. The guest is not trusted: its descriptors are copied once
// and only the copy is looked at; a bad range is answered as failed and counted, never fatal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "shared/report_channel.hpp"
#include "vmm/base/counter.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

// Why a range is not accepted; `none` for an accepted one.
enum class RangeFault : std::uint8_t {
  none,
  reserved_bits,  // bits 46...63 set
  unknown_kind,   // neither hint nor span
  bad_order,      // above max_order
  unaligned,      // does not start at a multiple of its length
  below_managed,  // starts in the reserved low part of RAM
  beyond_ram,     // does not end within RAM, or lies in its hole
  span_of_nothing // a span that no accepted hint within it follows
};
inline constexpr std::size_t range_fault_count = 8;
std::string_view name_of(RangeFault fault);

// The part of guest-physical memory that hints may name; empty until the guest has said hello.
struct ManagedRange {
  abi::Gpa start;
  abi::Gpa end;   // end of RAM, page aligned, not below `start`
  RamHole hole{}; // not RAM; aligned to the largest block
};

// A descriptor after judgement. start and bytes mean something only if fault is none; then the
// range is aligned to its length and lies within the managed range.
struct CheckedRange {
  static constexpr std::uint16_t no_span = 0xffff;

  abi::Gpa start;
  std::uint32_t bytes = 0;                // at most 4 MiB
  std::uint16_t enclosing_span = no_span; // of an accepted hint: descriptor of its span
  abi::RangeKind kind = abi::RangeKind::hint;
  RangeFault fault = RangeFault::none;

  [[nodiscard]] bool accepted() const { return fault == RangeFault::none; }
};

// Position = descriptor number. Of fixed size, so that the path from batch to discard allocates
// nothing.
struct CheckedBatch {
  std::array<CheckedRange, abi::max_batch_ranges> storage;
  std::uint32_t count = 0;

  [[nodiscard]] std::span<const CheckedRange> ranges() const { return {storage.data(), count}; }
};

// Copies the first to.size() descriptors (at most max_batch_ranges) out of memory that the guest
// may be writing to: each word is loaded exactly once.
void copy_descriptors(abi::DescriptorPage& page, std::span<abi::RangeDescriptor> to);

// One per thread that processes batches; statistics may be read by another.
class BatchValidator {
 public:
  explicit BatchValidator(ManagedRange managed) : managed_(managed) {}

  void set_managed(ManagedRange managed) { managed_ = managed; }

  // Judges a host-owned copy of 1...max_batch_ranges descriptors; more are cut off. A span
  // encloses the hints that directly follow it and lie within it; the first hint outside ends it
  // and stands alone.
  void validate(std::span<const abi::RangeDescriptor> copy, CheckedBatch& out);

  // Descriptors judged so since construction; `none` counts the accepted ones.
  [[nodiscard]] std::uint64_t count_of(RangeFault fault) const {
    return counts_[static_cast<std::size_t>(fault)].value();
  }
  // Of these: hints accepted, and descriptors of either kind not accepted.
  [[nodiscard]] std::uint64_t accepted_hints() const { return accepted_hints_.value(); }
  [[nodiscard]] std::uint64_t rejected_ranges() const;

 private:
  [[nodiscard]] CheckedRange judge(abi::RangeDescriptor descriptor) const;

  ManagedRange managed_;
  std::array<Counter, range_fault_count> counts_;
  Counter accepted_hints_;
};

} // namespace vmm
