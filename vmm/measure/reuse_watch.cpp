// SPDX-License-Identifier: MIT
#include "vmm/measure/reuse_watch.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

#include "vmm/base/clock.hpp"
#include "vmm/base/units.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/measure/sampler.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;
constexpr std::uint64_t shortest_pause_ns = 20 * ns_per_ms;
constexpr std::uint64_t pause_per_scan = 50; // a scan's time is a fiftieth of the time

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

std::unique_ptr<ReuseWatch> ReuseWatch::create(const GuestMemory& memory) {
  auto scan = ResidentScan::create(memory);
  return scan ? std::unique_ptr<ReuseWatch>(new ReuseWatch(memory, std::move(*scan))) : nullptr;
}

ReuseWatch::ReuseWatch(const GuestMemory& memory, ResidentScan scan)
    : frames_(memory.end().value / abi::page_bytes), origin_ns_(monotonic_ns()),
      // Zeroed by the kernel, page by page when first touched.
      stamps_(static_cast<Stamp*>(std::calloc(frames_, sizeof(Stamp)))), scan_(std::move(scan)) {
  if (stamps_ == nullptr) {
    throw std::bad_alloc();
  }
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
  {
    const std::scoped_lock lock(scan_mutex_);
    scan_locked(now_ns);
  }
  end_ms_.store(ms(now_ns), std::memory_order_relaxed);
}

void ReuseWatch::look(std::uint64_t now_ns) {
  const std::unique_lock lock(scan_mutex_, std::try_to_lock);
  if (lock.owns_lock() && now_ns >= next_look_ns_) {
    scan_locked(now_ns);
    const std::uint64_t took_ns = monotonic_ns() - now_ns;
    next_look_ns_ = now_ns + std::max(shortest_pause_ns, took_ns * pause_per_scan);
  }
}

void ReuseWatch::discarded(abi::Gpa start, abi::Order order, std::uint64_t now_ns) {
  Counts& counts = counts_[order.value];
  counts.ranges.fetch_add(1, std::memory_order_relaxed);
  counts.discarded_frames.fetch_add(order.frames(), std::memory_order_relaxed);
  const std::uint32_t now_ms = ms(now_ns);
  const std::uint32_t stamp = (std::uint32_t{order.value} << order_shift) | now_ms;
  const std::uint64_t first = abi::to_pfn(start).value;
  const std::uint32_t looked = looked_ms_.load(std::memory_order_relaxed);
  for (std::uint64_t frame = first; frame < first + order.frames(); ++frame) {
    const std::uint32_t old =
        std::atomic_ref(stamps_[frame]).exchange(stamp, std::memory_order_relaxed);
    if (old != 0) {
      // It came back and went again between two looks: no earlier than the last one.
      count_return(old, std::max(looked, ms_of(old)));
    }
  }
}

void ReuseWatch::returned(abi::Gpa start, std::uint64_t bytes, std::uint64_t now_ns) {
  const std::uint32_t now_ms = ms(now_ns);
  const std::uint64_t first = abi::to_pfn(start).value;
  for (std::uint64_t frame = first; frame < first + bytes / abi::page_bytes; ++frame) {
    const std::atomic_ref stamp(stamps_[frame]);
    std::uint32_t old = stamp.load(std::memory_order_relaxed);
    // What went away in this very millisecond may have done so after the page tables were read.
    if (old == 0 || ms_of(old) >= now_ms ||
        !stamp.compare_exchange_strong(old, 0, std::memory_order_relaxed)) {
      continue;
    }
    count_return(old, now_ms);
  }
}

void ReuseWatch::count_return(Stamp stamp, std::uint32_t at_ms) {
  Counts& counts = counts_[order_of(stamp)];
  counts.reused_frames.fetch_add(1, std::memory_order_relaxed);
  counts.reused_frame_ms.fetch_add(counted_ms(ms_of(stamp), at_ms), std::memory_order_relaxed);
}

// `now_ns` is from before the scan.
void ReuseWatch::scan_locked(std::uint64_t now_ns) {
  if (scan_.each([&](abi::Gpa start, std::uint64_t bytes) { returned(start, bytes, now_ns); })) {
    looked_ms_.store(ms(now_ns), std::memory_order_relaxed);
  }
}

OrderUses ReuseWatch::uses() const {
  std::array<std::uint64_t, abi::order_count> frame_ms{};
  OrderUses uses;
  for (std::size_t order = 0; order < uses.size(); ++order) {
    const Counts& counts = counts_[order];
    uses[order].ranges = counts.ranges.load(std::memory_order_relaxed);
    uses[order].discarded_bytes =
        counts.discarded_frames.load(std::memory_order_relaxed) * abi::page_bytes;
    uses[order].reused_bytes =
        counts.reused_frames.load(std::memory_order_relaxed) * abi::page_bytes;
    frame_ms[order] = counts.reused_frame_ms.load(std::memory_order_relaxed);
  }
  const std::uint32_t end = end_ms_.load(std::memory_order_relaxed);
  const std::uint32_t until = end != 0 ? end : looked_ms_.load(std::memory_order_relaxed);
  for (std::uint64_t frame = 0; frame < frames_; ++frame) {
    const std::uint32_t stamp = std::atomic_ref(stamps_[frame]).load(std::memory_order_relaxed);
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

void ReuseWatch::on_answer(const Batch& batch) {
  const std::uint64_t now_ns = monotonic_ns();
  const auto submitted = batch.submitted();
  for (std::uint32_t index = 0; index < submitted.size(); ++index) {
    // A discarded range was accepted: its order and place are right.
    if (submitted[index].kind() == abi::RangeKind::hint &&
        batch.answer.outcome(index) == abi::Outcome::discarded) {
      discarded(abi::to_gpa(submitted[index].pfn()), submitted[index].order(), now_ns);
    }
  }
}

} // namespace vmm
