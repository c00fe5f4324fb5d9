// SPDX-License-Identifier: MIT
// The host's side of the report channels for tests: records what it is told, answers when and as
// the test wants, and can misbehave.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "shared/report_channel.hpp"

namespace test_support {

// Channels in zeroed memory, as the host sets them up.
class ChannelSet {
 public:
  explicit ChannelSet(unsigned count) : channels_(std::make_unique<abi::Channel[]>(count)) {
    for (unsigned index = 0; index < count; ++index) {
      pointers_.push_back(&channels_[index]);
    }
  }
  [[nodiscard]] abi::Channel& operator[](unsigned index) { return *pointers_[index]; }
  [[nodiscard]] const std::vector<abi::Channel*>& pointers() const { return pointers_; }

 private:
  std::unique_ptr<abi::Channel[]> channels_;
  std::vector<abi::Channel*> pointers_;
};

// A batch as the host copied it.
struct TakenBatch {
  abi::SubmissionEntry entry;
  std::vector<abi::RangeDescriptor> ranges;
};

class FakeReportHost {
 public:
  using Decide = std::function<abi::Outcome(abi::RangeDescriptor)>;

  explicit FakeReportHost(abi::Channel& channel)
      : channel_(channel), submit_head_(channel.rings.submit_head),
        complete_tail_(channel.rings.complete_tail) {}

  // Copies all batches that have been submitted.
  [[nodiscard]] std::vector<TakenBatch> take() {
    std::vector<TakenBatch> batches;
    const std::uint32_t tail =
        std::atomic_ref(channel_.rings.submit_tail).load(std::memory_order_acquire);
    for (; submit_head_ != tail; ++submit_head_) {
      TakenBatch batch{.entry = channel_.rings.submissions[submit_head_ % abi::ring_entries],
                       .ranges = {}};
      const abi::RangeDescriptor* ranges = channel_.pages[batch.entry.page].ranges;
      batch.ranges.assign(ranges, ranges + batch.entry.range_count);
      batches.push_back(std::move(batch));
    }
    std::atomic_ref(channel_.rings.submit_head).store(submit_head_, std::memory_order_release);
    return batches;
  }

  [[nodiscard]] static abi::CompletionEntry answer_to(const TakenBatch& batch,
                                                      const Decide& decide) {
    abi::CompletionEntry answer{.batch_id = batch.entry.batch_id,
                                .page = batch.entry.page,
                                .range_count = batch.entry.range_count};
    for (std::uint32_t index = 0; index < batch.ranges.size(); ++index) {
      answer.set_outcome(index, decide(batch.ranges[index]));
    }
    return answer;
  }

  // Whether post() would not overwrite an entry that the guest has not taken yet.
  [[nodiscard]] bool can_post() const {
    return complete_tail_ -
               std::atomic_ref(channel_.rings.complete_head).load(std::memory_order_acquire) <
           abi::completion_entries;
  }
  // Writes an answer, right or wrong, to the ring.
  void post(const abi::CompletionEntry& answer) {
    channel_.rings.completions[complete_tail_ % abi::completion_entries] = answer;
    ++complete_tail_;
    std::atomic_ref(channel_.rings.complete_tail).store(complete_tail_, std::memory_order_release);
  }

  // What a synchronous host does at a doorbell. Returns the number of batches.
  std::size_t serve(const Decide& decide) {
    const std::vector<TakenBatch> batches = take();
    for (const TakenBatch& batch : batches) {
      post(answer_to(batch, decide));
    }
    return batches.size();
  }

 private:
  abi::Channel& channel_;
  std::uint32_t submit_head_;
  std::uint32_t complete_tail_;
};

inline abi::Outcome discard_all(abi::RangeDescriptor) {
  return abi::Outcome::discarded;
}

} // namespace test_support
