// SPDX-License-Identifier: MIT
// When the `scan` strategy reports, and how much: as Linux's free page reporting does
// (mm/page_reporting.c), so that it can be compared with the other strategies.
//
// clang-format off
//   idle --memory becomes reportable--> requested --2 s--> pass over the lists --> idle, requested
// clang-format on
//
// A pass visits the free lists from the report order upwards. From each it takes at most
// DIV_ROUND_UP(free blocks of the list, 16 * 32) + 1 batches of up to 32 ranges: a sixteenth of the
// list and one batch, because page_reporting_cycle() tests its budget for being negative after it
// has counted a report down. So a list of up to 512 blocks gives 64 in a pass: 256 MiB of 4 MiB
// blocks. What is left waits for the next pass. Where Linux carries a half-filled batch over to the
// next list, each list here ends with its own partial batch.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "guest/mm/buddy/buddy.hpp"
#include "shared/address.hpp"

namespace guest::mm {

class ScanSchedule {
 public:
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  static constexpr std::uint64_t delay_ns = 2'000'000'000;
  static constexpr std::uint32_t batch_ranges = 32;
  static constexpr std::uint64_t fraction = 16;

  // Nothing is reportable, or everything changed: no pass is wanted.
  void reset() {
    if (state_ != State::idle) {
      *this = {};
    }
  }
  // Something is reportable: asks for a pass, unless one is asked for or under way.
  void request(std::uint64_t now_ns) {
    if (state_ == State::idle) {
      state_ = State::requested;
      due_ns_ = saturated_sum(now_ns, delay_ns);
    }
  }
  // Whether a pass is under way or its time has come.
  [[nodiscard]] bool due(std::uint64_t now_ns) const { return now_ns >= deadline_ns(); }
  // When the next batch may be taken; 0 within a pass, never when none is wanted.
  [[nodiscard]] std::uint64_t deadline_ns() const { return state_ == State::passing ? 0 : due_ns_; }

  // The list to take the next batch from; starts a pass if none is under way. Nothing when the
  // pass is over.
  [[nodiscard]] std::optional<abi::Order> current_list(const Buddy& buddy);
  // What came of it: one batch, or nothing left that can be taken.
  void took_batch();
  void list_exhausted() { budget_ = 0; }

  enum class PassResult : std::uint8_t { took_nothing, took_some };
  // Ends the pass and asks for the next one.
  PassResult finish(std::uint64_t now_ns);

 private:
  enum class State : std::uint8_t { idle, requested, passing };

  [[nodiscard]] static constexpr std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) {
    return a < never - b ? a + b : never;
  }
  // Batches that one pass takes from a list.
  [[nodiscard]] static std::uint64_t budget_of(const Buddy& buddy, abi::Order list) {
    constexpr std::uint64_t divisor = fraction * batch_ranges;
    const std::uint64_t blocks = buddy.free_blocks(list);
    return blocks == 0 ? 0 : (blocks + divisor - 1) / divisor + 1;
  }

  State state_ = State::idle;
  std::uint64_t due_ns_ = never;
  abi::Order list_;
  std::uint64_t budget_ = 0; // batches that may still be taken from the list
  PassResult result_ = PassResult::took_nothing;
};

} // namespace guest::mm
