// SPDX-License-Identifier: MIT
#include "vmm/measure/sampler.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <utility>

#include "shared/address.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

// History beyond this is halved: more than ten seconds at the default period, bounded for any run.
constexpr std::size_t history_limit = 2048;

// So many samples while the measured interval doubles its length, until they are a period apart.
constexpr unsigned samples_per_doubling = 64;
constexpr std::chrono::microseconds shortest_pause{200};
// A sample's time is at most this part of the time until the next.
constexpr std::uint64_t pause_per_sample = 20;
// A rise of the guest's own high-water mark since the last sample.
constexpr double worth_a_look = 1.01;

constexpr std::uint64_t settle_interval_ns = 2'000'000;
constexpr std::uint64_t settle_limit_ns = 2'000'000'000;
constexpr std::size_t settle_stable_points = 5;
constexpr std::uint64_t settle_spread_bytes = 256 * kib;
constexpr std::uint64_t settle_tolerance_bytes = mib;

std::uint64_t load(std::uint64_t& field) {
  return std::atomic_ref(field).load(std::memory_order_relaxed);
}

} // namespace

// Both are arrays of words: nothing in the page is wider, or lies across two.
abi::GuestStatus read_guest_status(abi::GuestStatus& status) {
  constexpr std::size_t word_bytes = sizeof(std::uint64_t);
  static_assert(sizeof status % word_bytes == 0 && alignof(abi::GuestStatus) % word_bytes == 0);
  std::array<std::uint64_t, sizeof status / word_bytes> words{};
  // Justified: bytes of a page that somebody else writes, one word at a time.
  auto* const source = reinterpret_cast<std::uint64_t*>(&status);
  for (std::size_t index = 0; index < words.size(); ++index) {
    words[index] = load(source[index]);
  }
  return std::bit_cast<abi::GuestStatus>(words);
}

GuestSample read_guest_sample(abi::GuestStatus& status) {
  GuestSample sample;
  sample.fresh_bytes = load(status.fresh_bytes);
  sample.reported_bytes = load(status.reported_bytes);
  sample.isolated_bytes = load(status.isolated_bytes);
  sample.cached_bytes = load(status.cached_bytes);
  sample.events_total = load(status.events_total);
  sample.live_high_bytes = load(status.live_high_bytes);
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

Result<void> Sampler::start(ThreadStart on_start) {
  if (thread_.joinable()) {
    return {};
  }
  stopping_ = false; // no other thread yet
  EBB_TRY_ASSIGN(thread, Thread::make("measuring", std::move(on_start), [this] { run(); }));
  thread_ = std::move(thread);
  return {};
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
  wake_.notify_all();
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
    settled.resident_bytes = now.resident_bytes;
    if (!now.resident_bytes) {
      return settled;
    }
    watched.push_back({now.at_ns, *now.resident_bytes});
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

Sampler::Failures Sampler::failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

// A failure is no measurement of nothing: memory is taken to be what it was.
std::optional<std::uint64_t> Sampler::measure_resident_locked(std::uint64_t now_ns, Mark mark) {
  if (!sources_.resident_bytes) {
    return std::nullopt;
  }
  auto measured =
      sources_.resident_bytes(now_ns, mark == Mark::none ? Occasion::routine : Occasion::mark);
  if (measured) {
    return *measured;
  }
  ++failures_.count;
  failures_.last = std::move(measured.error().message);
  return latest_.resident_bytes;
}

MemorySample Sampler::sample_marked(Mark mark) {
  MemorySample sample;
  {
    const std::lock_guard lock(mutex_);
    sample = take_locked(mark);
  }
  if (sources_.observer) {
    sources_.observer(sample);
  }
  return sample;
}

void Sampler::before_discard() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || !footprint_.running()) {
    return;
  }
  // The thread takes samples often enough, if it gets to run; but it may miss a peak.
  const std::chrono::nanoseconds passed(sources_.now_ns() - latest_.at_ns);
  // A guest that does not tell may have risen at any time.
  const auto high_bytes = static_cast<double>(sources_.guest().live_high_bytes);
  const bool risen = high_bytes == 0 ||
                     high_bytes > worth_a_look * static_cast<double>(latest_.guest.live_high_bytes);
  if (passed >= pause_locked() ||
      (risen && passed >= std::chrono::nanoseconds(pause_per_sample * cost_ns_))) {
    take_locked(Mark::none);
  } else if (risen) {
    footprint_.miss_peak();
  }
}

MemorySample Sampler::take_locked(Mark mark) {
  MemorySample sample;
  sample.at_ns = sources_.now_ns();
  sample.resident_bytes = measure_resident_locked(sample.at_ns, mark);
  sample.guest = sources_.guest();
  MemoryPoint point{.at_ns = sample.at_ns,
                    .resident_bytes = sample.resident_bytes,
                    .live_bytes = sample.guest.live_bytes,
                    .ever_resident_bytes = {},
                    .live_high_bytes = sample.guest.live_high_bytes};
  if (sources_.ever_resident_bytes) {
    point.ever_resident_bytes = sources_.ever_resident_bytes();
  }
  const bool in_interval = mark == Mark::begin || footprint_.running();
  switch (mark) {
  case Mark::none:
    footprint_.add(point);
    break;
  case Mark::begin:
    series_.begin();
    footprint_.begin(point);
    hurried_ = true;
    break;
  case Mark::end:
    footprint_.end(point);
    break;
  }
  if (in_interval) {
    series_.add(point);
  }
  latest_ = sample;
  if (history_.size() == history_limit) {
    history_.erase(history_.begin(), history_.begin() + history_limit / 2);
  }
  if (sample.resident_bytes) {
    history_.push_back({sample.at_ns, *sample.resident_bytes});
  }
  const std::uint64_t done_ns = sources_.now_ns();
  cost_ns_ = done_ns > sample.at_ns ? done_ns - sample.at_ns : 0;
  return sample;
}

// From the beginning of the interval on the pause grows with what has passed of it.
std::chrono::nanoseconds Sampler::pause_locked() const {
  if (!footprint_.running() || latest_.at_ns < footprint_.begin_ns()) {
    return period_;
  }
  const std::chrono::nanoseconds passed(latest_.at_ns - footprint_.begin_ns());
  const std::chrono::nanoseconds affordable(pause_per_sample * cost_ns_);
  const std::chrono::nanoseconds wanted =
      std::max<std::chrono::nanoseconds>(passed / samples_per_doubling, shortest_pause);
  return std::min(period_, std::max(wanted, affordable));
}

void Sampler::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    sample();
    lock.lock();
    wake_.wait_for(lock, pause_locked(),
                   [this] { return stopping_ || std::exchange(hurried_, false); });
  }
}

} // namespace vmm
