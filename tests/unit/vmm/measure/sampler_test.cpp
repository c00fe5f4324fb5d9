// SPDX-License-Identifier: MIT
#include "vmm/measure/sampler.hpp"

#include <atomic>
#include <semaphore>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t ms = 1'000'000;

// A world whose clock moves only when somebody waits, and whose memory follows a function of time.
struct World {
  std::uint64_t now_ns = 1000 * ms;
  std::function<std::uint64_t(std::uint64_t)> resident = [](std::uint64_t) { return mib; };
  GuestSample guest;
  std::uint64_t waits = 0;
  bool failing = false; // measuring resident memory

  SamplerSources sources() {
    return {.resident_bytes = [this](std::uint64_t at_ns, Occasion) -> Result<std::uint64_t> {
              if (failing) {
                return environment_error("no tables today");
              }
              return resident(at_ns);
            },
            .guest = [this] { return guest; },
            .ever_resident_bytes = {},
            .now_ns = [this] { return now_ns; },
            .wait_ns =
                [this](std::uint64_t duration_ns) {
                  now_ns += duration_ns;
                  ++waits;
                },
            .observer = {}};
  }
};

} // namespace

TEST_CASE("the guest's counters are summed over all vCPUs") {
  abi::GuestStatus status;
  status.fresh_bytes = 1;
  status.reported_bytes = 2;
  status.isolated_bytes = 3;
  status.cached_bytes = 4;
  status.events_total = 50;
  status.live_high_bytes = 5 * mib;
  status.vcpu[0] = {.allocated_frames = 100, .freed_frames = 20, .verified_pages = 7, .events = 8};
  status.vcpu[15] = {.allocated_frames = 0, .freed_frames = 70, .verified_pages = 1, .events = 2};
  const GuestSample sample = read_guest_sample(status);
  CHECK(sample.live_bytes == 10 * abi::page_bytes);
  CHECK(sample.fresh_bytes == 1);
  CHECK(sample.reported_bytes == 2);
  CHECK(sample.isolated_bytes == 3);
  CHECK(sample.cached_bytes == 4);
  CHECK(sample.live_high_bytes == 5 * mib);
  CHECK(sample.events == 10);
  CHECK(sample.events_total == 50);
  CHECK(sample.verified_pages == 8);
}

TEST_CASE("live memory is never negative") {
  abi::GuestStatus status;
  status.vcpu[0].freed_frames = 1;
  CHECK(read_guest_sample(status).live_bytes == 0);
}

TEST_CASE("the measured interval lies between the marks, samples at the marks included") {
  World world;
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  world.guest.live_bytes = 2 * mib;
  sampler.sample();
  world.now_ns += 5000 * ms;
  world.resident = [](std::uint64_t) { return 4 * mib; };
  sampler.begin();
  world.now_ns += 1000 * ms;
  sampler.sample();
  world.now_ns += 1000 * ms;
  sampler.end();
  world.now_ns += 9000 * ms;
  sampler.sample();
  const FootprintIntegral footprint = sampler.footprint();
  CHECK_FALSE(footprint.running());
  CHECK(footprint.seconds() == doctest::Approx(2));
  CHECK(footprint.resident_mib_s().value() == doctest::Approx(8));
  CHECK(footprint.live_mib_s().value() == doctest::Approx(4));
  CHECK(sampler.latest().at_ns == world.now_ns);
  CHECK(sampler.latest().resident_bytes == 4 * mib);
}

TEST_CASE("still memory settles after five looks") {
  World world;
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  const std::uint64_t last_free_ns = world.now_ns - 3 * ms;
  const Settled settled = sampler.settle(last_free_ns);
  CHECK_FALSE(settled.timed_out);
  CHECK(settled.resident_bytes == mib);
  CHECK(world.waits == 4);
  CHECK(settled.after_ns == 3 * ms);
}

TEST_CASE("settling counts samples from before the watch") {
  World world;
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  const std::uint64_t last_free_ns = world.now_ns;
  world.resident = [last_free_ns](std::uint64_t now_ns) {
    return now_ns < last_free_ns + 15 * ms ? 500 * mib : 2 * mib;
  };
  for (int i = 0; i < 5; ++i) {
    sampler.sample();
    world.now_ns += 10 * ms;
  }
  const Settled settled = sampler.settle(last_free_ns);
  CHECK(settled.after_ns == 20 * ms);
  CHECK(settled.resident_bytes == 2 * mib);
}

TEST_CASE("falling memory is watched until it stands") {
  World world;
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  const std::uint64_t last_free_ns = world.now_ns;
  // 10 MiB a millisecond down to 10 MiB, reached after 100 ms.
  world.resident = [last_free_ns](std::uint64_t now_ns) {
    const std::uint64_t passed_ms = (now_ns - last_free_ns) / ms;
    return passed_ms < 100 ? (1010 - 10 * passed_ms) * mib : 10 * mib;
  };
  const Settled settled = sampler.settle(last_free_ns);
  CHECK_FALSE(settled.timed_out);
  CHECK(settled.resident_bytes == 10 * mib);
  CHECK(settled.after_ns == 100 * ms);
}

TEST_CASE("memory that never stands ends the watch after two seconds") {
  World world;
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  bool high = false;
  world.resident = [&high](std::uint64_t) {
    high = !high;
    return high ? 100 * mib : mib;
  };
  const std::uint64_t start_ns = world.now_ns;
  const Settled settled = sampler.settle(std::nullopt);
  CHECK(settled.timed_out);
  CHECK(world.now_ns - start_ns == 2000 * ms);
  CHECK_FALSE(settled.after_ns.has_value());
}

TEST_CASE("a long run keeps sampling in bounded memory and still settles") {
  World world;
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  for (int i = 0; i < 10'000; ++i) {
    sampler.sample();
    world.now_ns += 20 * ms;
  }
  CHECK(sampler.settle(world.now_ns).after_ns == 0);
}

TEST_CASE("the thread samples until it is stopped, and can start again") {
  std::counting_semaphore<> sampled(0);
  std::atomic<std::uint64_t> observed = 0;
  World world;
  SamplerSources sources = world.sources();
  sources.observer = [&](const MemorySample& sample) {
    CHECK(sample.resident_bytes == mib);
    observed.fetch_add(1);
    sampled.release();
  };
  Sampler sampler(sources, std::chrono::microseconds(1));
  for (int round = 0; round < 2; ++round) {
    REQUIRE(sampler.start());
    REQUIRE(sampler.start());
    for (int i = 0; i < 3; ++i) {
      sampled.acquire();
    }
    sampler.stop();
    sampler.stop();
  }
  CHECK(observed.load() >= 6);
}

TEST_CASE("stopping does not wait for the period to pass") {
  std::counting_semaphore<> sampled(0);
  World world;
  SamplerSources sources = world.sources();
  sources.observer = [&](const MemorySample&) { sampled.release(); };
  // A period longer than any test may take: only the stop can end the wait.
  Sampler sampler(sources, std::chrono::hours(24));
  REQUIRE(sampler.start());
  sampled.acquire();
  sampler.stop();
  CHECK(sampler.latest().resident_bytes == mib);
}

TEST_CASE("marks from another thread and the sampling thread do not disturb each other") {
  World world;
  std::atomic<std::uint64_t> clock = 0;
  SamplerSources sources = world.sources();
  int inside = 0; // guarded by the sampler's lock: the sources are never called twice at a time
  sources.now_ns = [&clock] { return clock.fetch_add(ms); };
  sources.resident_bytes = [&inside](std::uint64_t, Occasion) {
    CHECK(inside == 0);
    ++inside;
    const std::uint64_t bytes = 8 * mib;
    --inside;
    return bytes;
  };
  Sampler sampler(sources, std::chrono::microseconds(1));
  REQUIRE(sampler.start());
  sampler.begin();
  for (int i = 0; i < 1000; ++i) {
    sampler.sample();
  }
  sampler.end();
  sampler.stop();
  const FootprintIntegral footprint = sampler.footprint();
  CHECK(footprint.seconds() > 1.0);
  CHECK(footprint.resident_mib_s().value() == doctest::Approx(8 * footprint.seconds()));
}

TEST_CASE("a measurement that fails repeats the last value and is counted") {
  World world;
  world.resident = [](std::uint64_t) { return 8 * mib; };
  Sampler sampler(world.sources(), std::chrono::milliseconds(20));
  sampler.begin();
  world.failing = true;
  for (int i = 0; i < 3; ++i) {
    world.now_ns += 1000 * ms;
    CHECK(sampler.sample().resident_bytes == 8 * mib);
  }
  world.failing = false;
  world.now_ns += 1000 * ms;
  sampler.end();
  CHECK(sampler.failures().count == 3);
  CHECK(sampler.failures().last == "no tables today");
  CHECK(sampler.footprint().resident_mib_s().value() == doctest::Approx(32));
  CHECK(sampler.footprint().resident_peak_bytes() == 8 * mib);
}

TEST_CASE("what was never measured is no zero") {
  World world;
  world.failing = true;
  world.guest.live_bytes = mib;
  SamplerSources nothing = world.sources();
  nothing.resident_bytes = {};
  for (const SamplerSources& sources : {world.sources(), nothing}) {
    Sampler sampler(sources, std::chrono::milliseconds(20));
    sampler.begin();
    world.now_ns += 1000 * ms;
    sampler.end();
    CHECK_FALSE(sampler.latest().resident_bytes.has_value());
    CHECK_FALSE(sampler.footprint().resident_mib_s().has_value());
    CHECK_FALSE(sampler.footprint().resident_peak_bytes().has_value());
    CHECK(sampler.footprint().live_mib_s().value() == doctest::Approx(1));
    CHECK_FALSE(sampler.settle(world.now_ns).resident_bytes.has_value());
  }
}

TEST_CASE("a peak just before a discard is seen, however long the period") {
  World world;
  std::uint64_t resident_bytes = mib;
  world.resident = [&](std::uint64_t) { return resident_bytes; };
  Sampler sampler(world.sources(), std::chrono::hours(24));
  sampler.before_discard(); // outside the interval nothing is measured
  CHECK(sampler.latest().at_ns == 0);
  sampler.begin();
  world.now_ns += 3 * ms;
  resident_bytes = 30 * mib;
  sampler.before_discard();
  resident_bytes = mib;
  world.now_ns += 3 * ms;
  sampler.end();
  CHECK(sampler.footprint().resident_peak_bytes() == 30 * mib);
  CHECK(sampler.footprint().resident_peak_seen());
}

TEST_CASE("a peak that nobody could afford to look at is known to be open") {
  World world;
  world.resident = [&](std::uint64_t) {
    world.now_ns += 10 * ms; // what it takes
    return mib;
  };
  Sampler sampler(world.sources(), std::chrono::hours(24));
  world.guest.live_high_bytes = mib;
  sampler.begin();
  world.now_ns += ms;
  sampler.before_discard();
  CHECK(sampler.footprint().resident_peak_seen()); // the guest tells of no new peak
  world.guest.live_high_bytes = 2 * mib;
  sampler.before_discard();
  CHECK_FALSE(sampler.footprint().resident_peak_seen());
}

TEST_CASE("samples before discards cost no more than a part of the time") {
  World world;
  std::uint64_t samples = 0;
  world.resident = [&](std::uint64_t) {
    ++samples;
    world.now_ns += ms; // what it takes
    return mib;
  };
  Sampler sampler(world.sources(), std::chrono::hours(24));
  sampler.begin();
  for (int batch = 0; batch < 1000; ++batch) {
    world.now_ns += ms / 10;
    sampler.before_discard();
  }
  CHECK(samples > 3);
  CHECK(samples <= 1 + 1000 / 10 / 20 + 1);
}

TEST_CASE("a short interval has as many samples as a long one, whatever the period") {
  std::counting_semaphore<> sampled(0);
  std::atomic<std::uint64_t> clock = 1;
  World world;
  SamplerSources sources = world.sources();
  sources.now_ns = [&clock] { return clock.load(); };
  sources.resident_bytes = [](std::uint64_t, Occasion) { return mib; };
  sources.observer = [&](const MemorySample&) { sampled.release(); };
  Sampler sampler(sources, std::chrono::hours(24));
  REQUIRE(sampler.start());
  sampled.acquire(); // the thread's first, before the interval
  sampler.begin();
  for (int i = 0; i < 20; ++i) {
    sampled.acquire(); // no period passes
    clock.fetch_add(10'000);
  }
  sampler.end();
  sampler.stop();
  CHECK(sampler.footprint().points() >= 20);
}
