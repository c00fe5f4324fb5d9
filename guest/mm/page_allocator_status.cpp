// SPDX-License-Identifier: MIT
// What the page allocator tells of itself, and new settings: rare, beside what each operation
// tells.
#include <atomic>

#include "guest/mm/page_allocator.hpp"
#include "guest/mm/status_field.hpp"

namespace guest::mm {

void PageAllocator::retune(const ReportSettings& settings) {
  const Guard guard(lock_, backoff());
  retune_locked(settings, platform_.now_ns());
}

void PageAllocator::retune_locked(const ReportSettings& settings, std::uint64_t now_ns) {
  reporter_.retune_locked(settings, now_ns);
  choose_way_of_frees_locked();
}

std::uint64_t PageAllocator::last_buddy_free_ns() const {
  return std::atomic_ref(last_buddy_free_ns_).load(std::memory_order_relaxed);
}

ReporterCounters PageAllocator::reporter_counters() {
  const Guard guard(lock_, backoff());
  return reporter_.counters();
}

ChannelCounters PageAllocator::channel_counters(unsigned channel) {
  const Guard guard(lock_, backoff());
  return reporter_.counters(channel);
}

void PageAllocator::publish_locked() {
  for (unsigned owner = 0; owner < reporter_.channel_count(); ++owner) {
    note_cached_locked(owner, caches_[owner].cache.frames());
  }
  publish_use_locked();
  const ReporterCounters& counters = reporter_.counters();
  publish(status_.isolated_bytes, buddy_.isolated_frames() * abi::page_bytes);
  publish(status_.hinted_batches, counters.batches);
  publish(status_.hinted_ranges, counters.ranges);
  publish(status_.hinted_bytes, counters.bytes);
  publish(status_.redundant_bytes, buddy_.redundant_frames() * abi::page_bytes);
  publish(status_.oom_waits, oom_waits_);
  publish(status_.quarantined_bytes, reporter_.quarantined_frames() * abi::page_bytes);
  publish(status_.late_answers, counters.late_answers);
  publish(status_.ignored_answers, counters.ignored_answers);
  publish(status_.oom_failures, oom_failures_);
  publish(status_.max_in_flight_bytes, counters.max_in_flight_bytes);
  publish(status_.half_life_ns, reporter_.half_life_ns());
  publish(status_.report_order, buddy_.report_order().value);
}

} // namespace guest::mm
