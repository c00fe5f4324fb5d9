// SPDX-License-Identifier: MIT
// The guest's end of one report channel: ring indices, descriptor pages, and what is in flight on
// each page. Knows the protocol (shared/report_channel.hpp), nothing of policy or of the Buddy.
//
// The host's indices and entries are checked: an answer that does not fit what is in flight
// (repeated, unknown, for a page in newer use) is told apart and has no effect. A page stays
// occupied until its batch is answered, which may be never. Not thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "shared/report_channel.hpp"

namespace guest::mm {

// A batch that is with the host.
struct InFlight {
  std::uint64_t batch_id = 0; // from 1; 0 means that the page is free
  std::uint64_t block_frames = 0;
  std::uint64_t submit_ns = 0;
  std::uint32_t range_count = 0;
  bool quarantined = false; // the answer is overdue
};

enum class AnswerKind : std::uint8_t {
  none,    // no completion entry is waiting
  ignored, // one was taken that fits nothing in flight
  fits,    // the first answer to a batch in flight
};

struct Answer {
  abi::CompletionEntry entry;
  InFlight batch;
  std::span<const abi::RangeDescriptor> ranges; // good until the next submission
};

class ChannelPort {
 public:
  ChannelPort() = default; // unattached: no other call is allowed
  // Indices continue where the rings stand, with nothing in flight.
  explicit ChannelPort(abi::Channel& channel);

  // Whether a batch can be submitted: a free descriptor page and a free ring slot.
  [[nodiscard]] bool has_room() const;
  // Where the descriptors of the next batch go. Needs room.
  [[nodiscard]] std::span<abi::RangeDescriptor> blank_page();
  // Id that the next submission gets.
  [[nodiscard]] std::uint64_t next_batch_id() const { return next_batch_id_; }
  // Submits the first `batch.range_count` descriptors of the blank page; fills in the batch id.
  // Returns whether the host wants a doorbell.
  [[nodiscard]] bool submit(InFlight batch);

  // Whether a completion entry is waiting; one load.
  [[nodiscard]] bool has_answer() const {
    return std::atomic_ref(channel_->rings.complete_tail).load(std::memory_order_acquire) !=
           complete_head_;
  }
  // Takes the next completion entry. When it fits, `answer` is filled in and the page is free.
  [[nodiscard]] AnswerKind take_answer(Answer& answer);

  // Whether any batch is in flight, overdue or not.
  [[nodiscard]] bool is_used() const { return free_pages_ != all_pages; }
  // Batches in flight whose answer is not overdue.
  [[nodiscard]] unsigned awaited() const { return awaited_; }
  // Puts every batch into quarantine that was submitted at or before `submitted_by_ns`, and tells
  // its id. Returns the frames of its blocks.
  template <typename OnBatch = decltype([](std::uint64_t) {})>
  std::uint64_t quarantine(std::uint64_t submitted_by_ns, OnBatch on_batch = {}) {
    std::uint64_t frames = 0;
    for (InFlight& batch : in_flight_) {
      if (batch.batch_id != 0 && !batch.quarantined && batch.submit_ns <= submitted_by_ns) {
        batch.quarantined = true;
        --awaited_;
        frames += batch.block_frames;
        on_batch(batch.batch_id);
      }
    }
    return frames;
  }
  // Submission time of the oldest batch that is awaited; `none` when there is none.
  [[nodiscard]] std::uint64_t oldest_submit_ns(std::uint64_t none) const;

  // Asks the host for an interrupt at the next answer. Returns false, and asks for none, when an
  // answer is there already.
  [[nodiscard]] bool arm_interrupt();
  void disarm_interrupt();

 private:
  static constexpr std::uint32_t all_pages = (1U << abi::ring_entries) - 1;

  [[nodiscard]] std::uint32_t next_page() const;

  abi::Channel* channel_ = nullptr;
  std::uint32_t submit_tail_ = 0;
  std::uint32_t complete_head_ = 0;
  std::uint32_t free_pages_ = all_pages; // bit per descriptor page
  unsigned awaited_ = 0;
  std::uint64_t next_batch_id_ = 1;
  std::array<InFlight, abi::ring_entries> in_flight_{}; // by descriptor page
};

} // namespace guest::mm
