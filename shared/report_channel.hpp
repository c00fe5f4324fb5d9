// SPDX-License-Identifier: MIT
// The report channel: one per vCPU, a submission ring of batches and a completion ring of answers.
//
// A batch is up to max_batch_ranges descriptors in one descriptor page. The guest fills a page it
// owns, writes a SubmissionEntry naming it, advances submit_tail and rings the doorbell if the
// host wants one. From then on the ranges are isolated: neither side of the guest touches them
// until the host has written a CompletionEntry for the batch and advanced complete_tail. A
// synchronous host has done so before the doorbell returns; the guest takes the same path either
// way.
//
// Ring indices run freely modulo 2^32; the slot of index i is i % ring_entries. Every index has
// one writer, publishes with release and is read with acquire. The host copies entries and
// descriptors once and validates the copies.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"
#include "shared/layout.h"

namespace abi {

inline constexpr std::uint32_t max_batch_ranges = 512;
// Batches that can be in flight on one channel: one per descriptor page.
inline constexpr std::uint32_t ring_entries = 8;
// Twice the batches in flight, so that a late or repeated answer cannot displace a first one.
inline constexpr std::uint32_t completion_entries = 2 * ring_entries;

// What one descriptor says of its range.
enum class RangeKind : std::uint8_t {
  // Free, isolated, and allocated since it was last answered: please discard.
  hint = 0,
  // The isolated block that encloses the hint ranges which follow it in the batch; the rest of
  // the block has been answered before. The host may discard all of it until it answers; that
  // is what makes a transparent huge page go back whole. Its own outcome is informative only.
  span = 1,
};

// A packed descriptor: bits 0...39 page frame number, 40...43 order, 44...45 kind, 46...63 zero.
struct RangeDescriptor {
  std::uint64_t bits = 0;

  static constexpr RangeDescriptor make(Pfn pfn, Order order, RangeKind kind) {
    return {(pfn.value & pfn_mask) | (std::uint64_t{order.value} << 40) |
            (static_cast<std::uint64_t>(kind) << 44)};
  }
  [[nodiscard]] constexpr Pfn pfn() const { return {bits & pfn_mask}; }
  // As written by the guest: 0...15, not yet checked against max_order.
  [[nodiscard]] constexpr Order order() const {
    return {static_cast<std::uint8_t>((bits >> 40) & 0xf)};
  }
  // As written by the guest: 0...3, of which 2 and 3 are undefined.
  [[nodiscard]] constexpr RangeKind kind() const {
    return static_cast<RangeKind>((bits >> 44) & 0x3);
  }
  [[nodiscard]] constexpr bool reserved_bits_clear() const { return (bits >> 46) == 0; }

  static constexpr std::uint64_t pfn_mask = (std::uint64_t{1} << 40) - 1;
};
static_assert(sizeof(RangeDescriptor) == 8);

// The host's answer to one range.
enum class Outcome : std::uint8_t {
  // Not given back. The contents are not to be relied on: a lazy or failed discard may have taken
  // a part of them.
  declined = 0,
  // Given back; the next touch reads zero.
  discarded = 1,
  // Not a range the host accepts (unaligned, outside RAM, reserved, ...); nothing was done.
  failed = 2,
};

// Guest to host: a batch.
struct SubmissionEntry {
  std::uint64_t batch_id = 0;    // chosen by the guest, unique per channel
  std::uint32_t page = 0;        // descriptor page of this channel, 0...ring_entries - 1
  std::uint32_t range_count = 0; // 1...max_batch_ranges
};
static_assert(sizeof(SubmissionEntry) == 16);
static_assert(offsetof(SubmissionEntry, page) == 8);
static_assert(offsetof(SubmissionEntry, range_count) == 12);

// Host to guest: the answers to one batch, two bits a range.
struct CompletionEntry {
  std::uint64_t batch_id = 0;
  std::uint32_t page = 0;        // copied from the submission
  std::uint32_t range_count = 0; // copied from the submission
  std::uint64_t host_ns = 0;     // time the host spent on the batch
  std::uint64_t reserved = 0;
  std::array<std::uint8_t, max_batch_ranges / 4> outcomes{};

  constexpr void set_outcome(std::uint32_t range, Outcome outcome) {
    const unsigned shift = (range % 4) * 2;
    auto& byte = outcomes[range / 4];
    byte = static_cast<std::uint8_t>((byte & ~(3U << shift)) |
                                     (static_cast<unsigned>(outcome) << shift));
  }
  // The same for the first `count` ranges, whole bytes at a time; those behind that share a byte
  // become 0.
  constexpr void set_outcomes(const std::array<Outcome, max_batch_ranges>& all,
                              std::uint32_t count) {
    for (std::uint32_t first = 0; first < count; first += 4) {
      unsigned byte = 0;
      for (std::uint32_t index = 0; index < 4 && first + index < count; ++index) {
        byte |= static_cast<unsigned>(all[first + index]) << (index * 2);
      }
      outcomes[first / 4] = static_cast<std::uint8_t>(byte);
    }
  }
  // 3 is undefined and to be treated as declined.
  [[nodiscard]] constexpr Outcome outcome(std::uint32_t range) const {
    const unsigned bits = (outcomes[range / 4] >> ((range % 4) * 2)) & 3U;
    return bits == 3 ? Outcome::declined : static_cast<Outcome>(bits);
  }
};
static_assert(sizeof(CompletionEntry) == 160);
static_assert(offsetof(CompletionEntry, page) == 8);
static_assert(offsetof(CompletionEntry, range_count) == 12);
static_assert(offsetof(CompletionEntry, host_ns) == 16);
static_assert(offsetof(CompletionEntry, reserved) == 24);
static_assert(offsetof(CompletionEntry, outcomes) == 32);

// First page of a channel. The guest-written and the host-written indices live on cache lines of
// their own.
struct ChannelRings {
  // Written by the guest.
  std::uint32_t submit_tail = 0;    // batches submitted
  std::uint32_t complete_head = 0;  // answers consumed
  std::uint32_t want_interrupt = 0; // 1: interrupt me when complete_tail advances
  std::uint32_t guest_reserved[13] = {};
  // Written by the host.
  std::uint32_t submit_head = 0;   // batches taken
  std::uint32_t complete_tail = 0; // answers written
  std::uint32_t no_doorbell = 0;   // 1: the host is watching submit_tail, do not ring
  std::uint32_t host_reserved[13] = {};
  SubmissionEntry submissions[ring_entries];
  CompletionEntry completions[completion_entries];
};
static_assert(offsetof(ChannelRings, complete_head) == 4);
static_assert(offsetof(ChannelRings, want_interrupt) == 8);
static_assert(offsetof(ChannelRings, submit_head) == 64);
static_assert(offsetof(ChannelRings, complete_tail) == 68);
static_assert(offsetof(ChannelRings, no_doorbell) == 72);
static_assert(offsetof(ChannelRings, submissions) == 128);
static_assert(offsetof(ChannelRings, completions) == 256);
static_assert(sizeof(ChannelRings) == 256 + 160 * completion_entries);
static_assert(sizeof(ChannelRings) <= page_bytes);

// One descriptor page.
struct DescriptorPage {
  RangeDescriptor ranges[max_batch_ranges];
};
static_assert(sizeof(DescriptorPage) == page_bytes);

// A whole channel as it lies in guest memory at EBB_CHANNEL_GPA + vcpu * EBB_CHANNEL_BYTES.
struct Channel {
  ChannelRings rings;
  std::uint8_t pad[page_bytes - sizeof(ChannelRings)];
  DescriptorPage pages[ring_entries];
};
static_assert(offsetof(Channel, pages) == page_bytes);
static_assert(sizeof(Channel) == EBB_CHANNEL_BYTES);
static_assert(EBB_CHANNEL_GPA + EBB_MAX_VCPUS * EBB_CHANNEL_BYTES <= EBB_PAGE_TABLE_GPA);

} // namespace abi
