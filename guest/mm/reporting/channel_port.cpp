// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/channel_port.hpp"

#include <algorithm>
#include <atomic>
#include <bit>

namespace guest::mm {

namespace {

std::uint32_t load_acquire(std::uint32_t& word) {
  return std::atomic_ref(word).load(std::memory_order_acquire);
}

} // namespace

ChannelPort::ChannelPort(abi::Channel& channel)
    : channel_(&channel), submit_tail_(channel.rings.submit_tail),
      complete_head_(channel.rings.complete_head) {}

bool ChannelPort::has_room() const {
  // A nonsensical head gives a huge distance and counts as a full ring.
  return free_pages_ != 0 &&
         submit_tail_ - load_acquire(channel_->rings.submit_head) < abi::ring_entries;
}

std::uint32_t ChannelPort::next_page() const {
  return static_cast<std::uint32_t>(std::countr_zero(free_pages_));
}

std::span<abi::RangeDescriptor> ChannelPort::blank_page() {
  return channel_->pages[next_page()].ranges;
}

bool ChannelPort::submit(InFlight batch) {
  const std::uint32_t page = next_page();
  batch.batch_id = next_batch_id_++;
  free_pages_ &= ~(1U << page);
  in_flight_[page] = batch;
  ++awaited_;

  abi::ChannelRings& rings = channel_->rings;
  rings.submissions[submit_tail_ % abi::ring_entries] = {
      .batch_id = batch.batch_id, .page = page, .range_count = batch.range_count};
  ++submit_tail_;
  // Publishing the tail and reading no_doorbell must not pass each other, or a host that is about
  // to stop watching and we could each believe that the other will act. Hence seq_cst for both:
  // the store is a release for the entry and descriptors, and a full barrier before the load.
  std::atomic_ref(rings.submit_tail).store(submit_tail_, std::memory_order_seq_cst);
  return std::atomic_ref(rings.no_doorbell).load(std::memory_order_seq_cst) == 0;
}

AnswerKind ChannelPort::take_answer(Answer& answer) {
  abi::ChannelRings& rings = channel_->rings;
  const std::uint32_t tail = load_acquire(rings.complete_tail);
  if (tail == complete_head_) {
    return AnswerKind::none;
  }
  if (tail - complete_head_ > abi::completion_entries) {
    // More answers than fit the ring: the overwritten ones are lost, look at what is there.
    complete_head_ = tail - abi::completion_entries;
    return AnswerKind::ignored;
  }
  answer.entry = rings.completions[complete_head_ % abi::completion_entries];
  ++complete_head_;
  std::atomic_ref(rings.complete_head).store(complete_head_, std::memory_order_release);

  const std::uint32_t page = answer.entry.page;
  if (page >= abi::ring_entries || in_flight_[page].batch_id == 0 ||
      in_flight_[page].batch_id != answer.entry.batch_id ||
      in_flight_[page].range_count != answer.entry.range_count) {
    return AnswerKind::ignored;
  }
  answer.batch = in_flight_[page];
  answer.ranges = std::span(channel_->pages[page].ranges).first(answer.batch.range_count);
  in_flight_[page] = {};
  free_pages_ |= 1U << page;
  awaited_ -= answer.batch.quarantined ? 0 : 1;
  return AnswerKind::fits;
}

std::uint64_t ChannelPort::oldest_submit_ns(std::uint64_t none) const {
  std::uint64_t oldest = none;
  for (const InFlight& batch : in_flight_) {
    if (batch.batch_id != 0 && !batch.quarantined) {
      oldest = std::min(oldest, batch.submit_ns);
    }
  }
  return oldest;
}

bool ChannelPort::arm_interrupt() {
  abi::ChannelRings& rings = channel_->rings;
  // The same handshake as with the doorbell, in the other direction.
  std::atomic_ref(rings.want_interrupt).store(1, std::memory_order_seq_cst);
  if (std::atomic_ref(rings.complete_tail).load(std::memory_order_seq_cst) != complete_head_) {
    disarm_interrupt();
    return false;
  }
  return true;
}

void ChannelPort::disarm_interrupt() {
  std::atomic_ref(channel_->rings.want_interrupt).store(0, std::memory_order_relaxed);
}

} // namespace guest::mm
