// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/control_watcher.hpp"

#include <atomic>
#include <thread>

#include <doctest/doctest.h>

#include "tests/support/adversarial_host.hpp"

TEST_CASE("threads: a policy is never a mixture of two") {
  abi::ReportControl control;
  std::atomic<bool> stop{false};
  std::thread host([&] {
    for (std::uint32_t value = 1; !stop.load(std::memory_order_relaxed); ++value) {
      test_support::write_control(control,
                                  {.enabled = value,
                                   .order = value,
                                   .batch = value,
                                   .keep_bytes = value,
                                   .delay_ns = value},
                                  value);
    }
  });
  guest::mm::ControlWatcher watcher(&control);
  unsigned mixtures = 0;
  for (unsigned copies = 0; copies < 2000;) {
    const auto settings = watcher.changed() ? watcher.read() : std::nullopt;
    if (!settings) {
      std::this_thread::yield();
      continue;
    }
    ++copies;
    const abi::ReportPolicy& policy = settings->policy;
    const std::uint64_t value = settings->timeout_ns;
    mixtures += policy.enabled != value || policy.order != value || policy.batch != value ||
                        policy.keep_bytes != value || policy.delay_ns != value
                    ? 1
                    : 0;
  }
  stop.store(true, std::memory_order_relaxed);
  host.join();
  CHECK(mixtures == 0);
}
