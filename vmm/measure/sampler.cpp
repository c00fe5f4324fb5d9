// SPDX-License-Identifier: MIT
#include "vmm/measure/sampler.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "shared/address.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

// History beyond this is halved: more than ten seconds at the default period, bounded for ever.
constexpr std::size_t history_limit = 2048;

constexpr std::uint64_t settle_interval_ns = 2'000'000;
constexpr std::uint64_t settle_limit_ns = 2'000'000'000;
constexpr std::size_t settle_stable_points = 5;
constexpr std::uint64_t settle_spread_bytes = 256 * kib;
constexpr std::uint64_t settle_tolerance_bytes = mib;

std::uint64_t load(std::uint64_t& field) {
  return std::atomic_ref(field).load(std::memory_order_relaxed);
}

} // namespace

GuestSample read_guest_sample(abi::GuestStatus& status) {
  GuestSample sample;
  sample.fresh_bytes = load(status.fresh_bytes);
  sample.reported_bytes = load(status.reported_bytes);
  sample.isolated_bytes = load(status.isolated_bytes);
  sample.cached_bytes = load(status.cached_bytes);
  sample.events_total = load(status.events_total);
  std::uint64_t allocated_frames = 0;
  std::uint64_t freed_frames = 0;
  for (abi::VcpuCounters& vcpu : status.vcpu) {
    // Frees first: a block counted as freed has then been counted as allocated.
    freed_frames += load(vcpu.freed_frames);
    sample.events += load(vcpu.events);
    sample.verified_pages += load(vcpu.verified_pages);
  }
  for (abi::VcpuCounters& vcpu : status.vcpu) {
    allocated_frames += load(vcpu.allocated_frames);
  }
  if (allocated_frames > freed_frames) {
    sample.live_bytes = (allocated_frames - freed_frames) << abi::page_shift;
  }
  return sample;
}

Sampler::Sampler(SamplerSources sources, std::chrono::nanoseconds period)
    : sources_(std::move(sources)), period_(period) {}

Sampler::~Sampler() {
  stop();
}

void Sampler::start(ThreadStart on_start) {
  if (thread_.joinable()) {
    return;
  }
  stopping_ = false; // no other thread yet
  thread_ = std::thread([this, on_start = std::move(on_start)] {
    begin_thread(on_start);
    run();
  });
}

void Sampler::stop() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

MemorySample Sampler::sample() {
  return sample_marked(Mark::none);
}

void Sampler::begin() {
  sample_marked(Mark::begin);
}

void Sampler::end() {
  sample_marked(Mark::end);
}

Settled Sampler::settle(std::optional<std::uint64_t> last_free_ns) {
  const std::uint64_t start_ns = sources_.now_ns();
  std::vector<ResidencyPoint> watched;
  Settled settled;
  while (true) {
    const MemorySample now = sample();
    watched.push_back({now.at_ns, now.resident_bytes});
    settled.resident_bytes = now.resident_bytes;
    if (is_stable(watched, settle_stable_points, settle_spread_bytes)) {
      break;
    }
    if (now.at_ns - start_ns >= settle_limit_ns) {
      settled.timed_out = true;
      break;
    }
    sources_.wait_ns(settle_interval_ns);
  }
  if (last_free_ns) {
    // The thread's samples since the last free count too: it may have settled before the watch.
    const std::lock_guard lock(mutex_);
    settled.after_ns = settle_time_ns(history_, *last_free_ns, settle_tolerance_bytes);
  }
  return settled;
}

FootprintIntegral Sampler::footprint() const {
  const std::lock_guard lock(mutex_);
  return footprint_;
}

MemorySample Sampler::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

MemorySeries Sampler::series() const {
  const std::lock_guard lock(mutex_);
  return series_;
}

MemorySample Sampler::sample_marked(Mark mark) {
  MemorySample sample;
  {
    const std::lock_guard lock(mutex_);
    sample.at_ns = sources_.now_ns();
    sample.resident_bytes = sources_.resident_bytes();
    sample.guest = sources_.guest();
    if (mark == Mark::begin) {
      series_.begin();
    }
    if (mark == Mark::begin || footprint_.running()) {
      series_.add({sample.at_ns, sample.resident_bytes, sample.guest.live_bytes});
    }
    switch (mark) {
    case Mark::none:
      footprint_.add(sample.at_ns, sample.resident_bytes, sample.guest.live_bytes);
      break;
    case Mark::begin:
      footprint_.begin(sample.at_ns, sample.resident_bytes, sample.guest.live_bytes);
      break;
    case Mark::end:
      footprint_.end(sample.at_ns, sample.resident_bytes, sample.guest.live_bytes);
      break;
    }
    latest_ = sample;
    if (history_.size() == history_limit) {
      history_.erase(history_.begin(), history_.begin() + history_limit / 2);
    }
    history_.push_back({sample.at_ns, sample.resident_bytes});
  }
  if (sources_.observer) {
    sources_.observer(sample);
  }
  return sample;
}

void Sampler::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    sample();
    lock.lock();
    wake_.wait_for(lock, period_, [this] { return stopping_; });
  }
}

} // namespace vmm
