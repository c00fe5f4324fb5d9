// SPDX-License-Identifier: MIT
// Samples the host's and the guest's view of guest memory while the guest runs.
//
// A thread takes a sample every period, and more in the first moments of the measured interval, so
// that a short one has as many as a long one; the vCPU thread marks the interval with begin() and
// end(), which take a sample at that very instant. Resident memory falls only where it is
// discarded: who is about to do so calls before_discard(), lest a peak lie between two samples.
// Samples in all take at most a tenth of the time. One lock orders all of it, so the sources
// are never called twice at a time. It is held while the sources run: a mark waits for at most one
// sample.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "shared/guest_status.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/measure/footprint.hpp"
#include "vmm/measure/memory_series.hpp"
#include "vmm/memory/frame_scan.hpp"

namespace vmm {

// The guest's own account of its memory; shown, never relied on.
struct GuestSample {
  std::uint64_t live_bytes = 0;
  std::uint64_t live_high_bytes = 0; // the most that was live so far; 0: it does not tell
  std::uint64_t fresh_bytes = 0;
  std::uint64_t reported_bytes = 0;
  std::uint64_t isolated_bytes = 0;
  std::uint64_t cached_bytes = 0;
  std::uint64_t events = 0;
  std::uint64_t events_total = 0; // 0 when not known
  std::uint64_t verified_pages = 0;
};

// Reads the status page with relaxed loads. Live bytes are never negative, whatever the guest
// writes.
GuestSample read_guest_sample(abi::GuestStatus& status);

// The whole page, likewise.
abi::GuestStatus read_guest_status(abi::GuestStatus& status);

struct MemorySample {
  std::uint64_t at_ns = 0;
  // Host memory behind guest RAM. Where measuring it failed, the last value that there was; empty
  // when there was none.
  std::optional<std::uint64_t> resident_bytes;
  GuestSample guest;
};

// What a sampler looks at. The first three are called with the sampler's lock held; the first may
// be empty, where resident memory cannot be measured.
struct SamplerSources {
  std::function<Result<std::uint64_t>(std::uint64_t now_ns, Occasion)> resident_bytes;
  std::function<GuestSample()> guest;
  // Of MemoryPoint; asked after the first, may be empty.
  std::function<std::optional<std::uint64_t>()> ever_resident_bytes;
  std::function<std::uint64_t()> now_ns;             // monotonic
  std::function<void(std::uint64_t)> wait_ns;        // blocks the caller that long
  std::function<void(const MemorySample&)> observer; // after each sample, unlocked; may be empty
};

struct Settled {
  std::optional<std::uint64_t> resident_bytes{}; // final; empty: not measured
  std::optional<std::uint64_t> after_ns{};       // since the last free; empty: last free unknown
  bool timed_out = false;                        // still moving when the watch ended
};

class Sampler {
 public:
  // `period` is the time between two samples of the thread.
  Sampler(SamplerSources sources, std::chrono::nanoseconds period);
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;
  ~Sampler(); // stops

  // Starts and stops the thread; stop() returns when it has ended. Both may be called again.
  // Environment error when the host has no thread to give.
  [[nodiscard]] Result<void> start(ThreadStart on_start = {});
  void stop();

  // Takes one sample now, from any thread.
  MemorySample sample();
  // Start and end of the measured interval, from any thread.
  void begin();
  void end();
  // Takes one if it is due, or the guest tells of a new peak and the last is long enough ago for
  // what it costs; not while somebody else does.
  // Neither waits nor tells the observer. Any thread.
  void before_discard();
  // Watches residency until it is stable, at most two seconds. `last_free_ns` is on the clock of
  // now_ns; empty when there was none.
  Settled settle(std::optional<std::uint64_t> last_free_ns);

  [[nodiscard]] FootprintIntegral footprint() const;
  // How many measurements of resident memory failed, and what the last of them said.
  struct Failures {
    std::uint64_t count = 0;
    std::string last;
  };
  [[nodiscard]] Failures failures() const;
  [[nodiscard]] MemorySample latest() const;
  // Of the measured interval.
  [[nodiscard]] MemorySeries series() const;

 private:
  enum class Mark : std::uint8_t { none, begin, end };

  MemorySample sample_marked(Mark mark);
  MemorySample take_locked(Mark mark);
  [[nodiscard]] std::chrono::nanoseconds pause_locked() const;
  std::optional<std::uint64_t> measure_resident_locked(std::uint64_t now_ns, Mark mark);
  void run();

  const SamplerSources sources_;
  const std::chrono::nanoseconds period_;

  mutable std::mutex mutex_; // guards the next eight
  Failures failures_;
  FootprintIntegral footprint_;
  MemorySeries series_;
  MemorySample latest_;
  std::vector<ResidencyPoint> history_; // the last points, in order of time
  bool stopping_ = false;
  bool hurried_ = false;      // the interval has begun: sample soon
  std::uint64_t cost_ns_ = 0; // of the last sample

  std::condition_variable wake_;
  Thread thread_;
};

} // namespace vmm
