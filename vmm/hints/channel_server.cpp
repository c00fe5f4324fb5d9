// SPDX-License-Identifier: MIT
#include "vmm/hints/channel_server.hpp"

#include <atomic>
#include <span>

#include "vmm/hints/batch_validator.hpp"

namespace vmm {

bool ChannelServer::take(Batch& batch) {
  abi::ChannelRings& rings = channel_->rings;
  const std::uint32_t tail = std::atomic_ref(rings.submit_tail).load(std::memory_order_acquire);
  const std::uint32_t pending = tail - submit_head_;
  if (pending == 0) {
    return false;
  }
  if (pending > abi::ring_entries) {
    // Ahead, behind or overwritten, one cannot tell. Serving slots of unknown age could discard
    // what the guest has since handed out again; an unanswered batch merely stays isolated.
    counters_.ring_overruns.add();
    submit_head_ = tail;
    std::atomic_ref(rings.submit_head).store(submit_head_, std::memory_order_release);
    return false;
  }

  // The slot and the page are the guest's to overwrite at any time: each word is loaded once.
  abi::SubmissionEntry& slot = rings.submissions[submit_head_ % abi::ring_entries];
  batch.submission.batch_id = std::atomic_ref(slot.batch_id).load(std::memory_order_relaxed);
  batch.submission.page = std::atomic_ref(slot.page).load(std::memory_order_relaxed);
  batch.submission.range_count = std::atomic_ref(slot.range_count).load(std::memory_order_relaxed);
  const abi::SubmissionEntry& submission = batch.submission;
  batch.acceptable = submission.page < abi::ring_entries && submission.range_count != 0 &&
                     submission.range_count <= abi::max_batch_ranges;
  if (batch.acceptable) {
    copy_descriptors(channel_->pages[submission.page],
                     std::span(batch.descriptors).first(submission.range_count));
  } else {
    counters_.bad_submissions.add();
  }
  ++submit_head_;
  counters_.batches_taken.add();
  batch.channel = number_;
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_taken(batch);
  }
  // Release: the loads above are over when the guest sees the slot as free; so is what observers
  // do, and a guest that has seen it uses nothing of the batch unnoticed (oracle).
  std::atomic_ref(rings.submit_head).store(submit_head_, std::memory_order_release);
  return true;
}

std::uint32_t ChannelServer::unconsumed_answers() const {
  return complete_tail_ -
         std::atomic_ref(channel_->rings.complete_head).load(std::memory_order_acquire);
}

void ChannelServer::publish(const abi::CompletionEntry& answer) {
  abi::ChannelRings& rings = channel_->rings;
  rings.completions[complete_tail_ % abi::completion_entries] = answer;
  ++complete_tail_;
  // Sequentially consistent, as is the load in interrupt_wanted(); the guest sets want_interrupt
  // and looks at complete_tail in the reverse order. One of the two sees the other's store, so no
  // wake-up is lost.
  std::atomic_ref(rings.complete_tail).store(complete_tail_, std::memory_order_seq_cst);
}

AnswerResult ChannelServer::answer(const Batch& batch) {
  // An honest guest has at most ring_entries batches without a consumed answer, so the ring is
  // never full. A head ahead of the tail comes out as a huge number, and full as well.
  if (unconsumed_answers() >= abi::completion_entries) {
    counters_.dropped_answers.add();
    if (observer_ != nullptr) [[unlikely]] {
      observer_->on_answer_dropped(batch);
    }
    return AnswerResult::dropped;
  }
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_answer(batch);
  }
  publish(batch.answer);
  counters_.batches_answered.add();
  return AnswerResult::written;
}

bool ChannelServer::repeat_answer(const abi::CompletionEntry& answer) {
  // First answers need at most ring_entries slots at any time: one for each descriptor page.
  if (unconsumed_answers() >= abi::completion_entries - abi::ring_entries) {
    return false;
  }
  publish(answer);
  return true;
}

bool ChannelServer::interrupt_wanted() const {
  return std::atomic_ref(channel_->rings.want_interrupt).load(std::memory_order_seq_cst) != 0;
}

void ChannelServer::set_doorbell(DoorbellUse use) {
  std::atomic_ref(channel_->rings.no_doorbell)
      .store(use == DoorbellUse::silence ? 1U : 0U, std::memory_order_seq_cst);
}

bool ChannelServer::has_submissions() const {
  // After set_doorbell(ring) the same holds as for an answer: store here, load there, and the
  // reverse, all sequentially consistent.
  return std::atomic_ref(channel_->rings.submit_tail).load(std::memory_order_seq_cst) !=
         submit_head_;
}

} // namespace vmm
