// SPDX-License-Identifier: MIT
#include "vmm/measure/reuse_watch.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>

#include "vmm/base/clock.hpp"
#include "vmm/base/units.hpp"
#include "vmm/hints/batch.hpp"
#include "vmm/measure/sampler.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;
constexpr std::uint64_t shortest_pause_ns = 20 * ns_per_ms;
constexpr std::uint64_t pause_per_look = 50; // a look's time is a fiftieth of the time

// With so many notes their writer puts them into the stamps, unless somebody looks just now.
constexpr std::size_t many_notes = 32 * 1024;

constexpr unsigned order_shift = 28;
constexpr std::uint32_t longest_ms = (std::uint32_t{1} << order_shift) - 1; // three days

constexpr std::uint32_t order_of(std::uint32_t stamp) {
  return stamp >> order_shift;
}
constexpr std::uint32_t ms_of(std::uint32_t stamp) {
  return stamp & longest_ms;
}

double mib_s(std::uint64_t frame_ms) {
  return static_cast<double>(frame_ms) * static_cast<double>(abi::page_bytes) /
         static_cast<double>(mib) / 1e3;
}

} // namespace

void ReuseWatch::Freed::operator()(Stamp* stamps) const {
  std::free(stamps);
}

ReuseWatch::ReuseWatch(const GuestMemory& memory)
    : frames_(memory.end().value / abi::page_bytes), origin_ns_(monotonic_ns()),
      // Zeroed by the kernel, page by page when first touched.
      stamps_(static_cast<Stamp*>(std::calloc(frames_, sizeof(Stamp)))) {
  if (stamps_ == nullptr) {
    throw std::bad_alloc();
  }
  notes_.reserve(many_notes + abi::max_batch_ranges);
  writing_.reserve(many_notes + abi::max_batch_ranges);
}

std::uint32_t ReuseWatch::ms(std::uint64_t now_ns) const {
  const std::uint64_t since = now_ns > origin_ns_ ? (now_ns - origin_ns_) / ns_per_ms : 0;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(since + 1, longest_ms));
}

// The part of a time away that lies in the measured interval.
std::uint64_t ReuseWatch::counted_ms(std::uint32_t from_ms, std::uint32_t to_ms) const {
  const std::uint32_t end = end_ms_.load(std::memory_order_relaxed);
  const std::uint32_t from = std::max(from_ms, begin_ms_.load(std::memory_order_relaxed));
  const std::uint32_t to = end == 0 ? to_ms : std::min(to_ms, end);
  return to > from ? to - from : 0;
}

void ReuseWatch::begin(std::uint64_t now_ns) {
  begin_ms_.store(ms(now_ns), std::memory_order_relaxed);
  end_ms_.store(0, std::memory_order_relaxed);
}

void ReuseWatch::end(std::uint64_t now_ns) {
  end_ms_.store(ms(now_ns), std::memory_order_relaxed);
}

ReuseWatch::Note ReuseWatch::note_of(abi::Gpa start, abi::Order order, std::uint64_t now_ns) const {
  return {static_cast<std::uint32_t>(abi::to_pfn(start).value),
          (std::uint32_t{order.value} << order_shift) | ms(now_ns)};
}

void ReuseWatch::discarded(abi::Gpa start, abi::Order order, std::uint64_t now_ns) {
  {
    const std::scoped_lock lock(notes_mutex_);
    notes_.push_back(note_of(start, order, now_ns));
  }
  write_stamps_if_many();
}

void ReuseWatch::write_stamps_if_many() {
  {
    const std::scoped_lock lock(notes_mutex_);
    if (notes_.size() < many_notes) {
      return;
    }
  }
  // Who looks will see to it: the notes grow for no longer than a look takes.
  const std::unique_lock lock(stamps_mutex_, std::try_to_lock);
  if (lock.owns_lock()) {
    write_stamps_locked();
  }
}

void ReuseWatch::write_stamps_locked() {
  {
    const std::scoped_lock lock(notes_mutex_);
    std::swap(notes_, writing_);
  }
  for (const Note& note : writing_) {
    const abi::Order order{static_cast<std::uint8_t>(order_of(note.stamp))};
    Counts& counts = counts_[order.value];
    ++counts.ranges;
    counts.discarded_frames += order.frames();
    for (Stamp& stamp : std::span(&stamps_[note.first_frame], order.frames())) {
      const Stamp old = std::exchange(stamp, note.stamp);
      if (old != 0) {
        // It came back and went again between two looks: no earlier than the last one.
        count_return_locked(old, std::max(looked_ms_, ms_of(old)));
      }
    }
  }
  writing_.clear();
}

void ReuseWatch::count_return_locked(Stamp stamp, std::uint32_t at_ms) {
  Counts& counts = counts_[order_of(stamp)];
  ++counts.reused_frames;
  counts.reused_frame_ms += counted_ms(ms_of(stamp), at_ms);
}

bool ReuseWatch::pass_begins(std::uint64_t now_ns, Occasion occasion) {
  std::unique_lock lock(stamps_mutex_);
  if (occasion == Occasion::routine && now_ns < next_look_ns_) {
    return false;
  }
  // What is noted from here on may be gone after the tables were read: it has no stamp till later.
  write_stamps_locked();
  look_ns_ = now_ns;
  look_lock_ = std::move(lock);
  return true;
}

void ReuseWatch::resident(abi::Gpa start, std::uint64_t bytes) {
  const std::uint32_t now_ms = ms(look_ns_);
  const std::uint64_t first = abi::to_pfn(start).value;
  for (Stamp& stamp : std::span(&stamps_[first], bytes / abi::page_bytes)) {
    if (stamp != 0) {
      count_return_locked(std::exchange(stamp, 0), now_ms);
    }
  }
}

void ReuseWatch::pass_ends(Ended how) {
  if (how == Ended::complete) {
    looked_ms_ = ms(look_ns_);
  }
  const std::uint64_t now_ns = monotonic_ns();
  const std::uint64_t took_ns = now_ns > look_ns_ ? now_ns - look_ns_ : 0;
  next_look_ns_ = look_ns_ + std::max(shortest_pause_ns, took_ns * pause_per_look);
  look_lock_.unlock();
}

OrderUses ReuseWatch::uses() {
  const std::scoped_lock lock(stamps_mutex_);
  write_stamps_locked();
  std::array<std::uint64_t, abi::order_count> frame_ms{};
  OrderUses uses;
  for (std::size_t order = 0; order < uses.size(); ++order) {
    const Counts& counts = counts_[order];
    uses[order].ranges = counts.ranges;
    uses[order].discarded_bytes = counts.discarded_frames * abi::page_bytes;
    uses[order].reused_bytes = counts.reused_frames * abi::page_bytes;
    frame_ms[order] = counts.reused_frame_ms;
  }
  const std::uint32_t end = end_ms_.load(std::memory_order_relaxed);
  const std::uint32_t until = end != 0 ? end : looked_ms_;
  for (const Stamp stamp : std::span(stamps_.get(), frames_)) {
    if (stamp != 0) {
      frame_ms[order_of(stamp)] += counted_ms(ms_of(stamp), until);
    }
  }
  for (std::size_t order = 0; order < uses.size(); ++order) {
    uses[order].away_mib_s = mib_s(frame_ms[order]);
  }
  return uses;
}

void ReuseWatch::on_discard_begin(const Batch& /*batch*/, unsigned lane,
                                  const CoalescedRuns& /*runs*/,
                                  const DiscardCounters& /*counters*/) {
  began_cpu_ns_[lane % most_lanes] = thread_cpu_ns();
}

void ReuseWatch::on_discard_end(const Batch& /*batch*/, unsigned lane,
                                const DiscardCounters& /*counters*/) {
  discard_cpu_ns_.fetch_add(thread_cpu_ns() - began_cpu_ns_[lane % most_lanes],
                            std::memory_order_relaxed);
}

void ReuseWatch::on_settled(const Batch& batch) {
  const std::uint64_t now_ns = monotonic_ns();
  const auto submitted = batch.submitted();
  {
    const std::scoped_lock lock(notes_mutex_);
    for (std::uint32_t index = 0; index < submitted.size(); ++index) {
      // A discarded range was accepted: its order and place are right.
      if (submitted[index].kind() == abi::RangeKind::hint &&
          batch.answer.outcome(index) == abi::Outcome::discarded) {
        notes_.push_back(
            note_of(abi::to_gpa(submitted[index].pfn()), submitted[index].order(), now_ns));
      }
    }
  }
  write_stamps_if_many();
}

} // namespace vmm
