// SPDX-License-Identifier: MIT
// A PageAllocator on a machine whose clock moves when somebody waits, and whose host does what the
// test says.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "guest/mm/page_allocator.hpp"
#include "tests/support/fake_report_host.hpp"

namespace test_support {

inline constexpr std::uint64_t block_frames = 1U << abi::max_order;
inline constexpr std::uint64_t second_ns = 1'000'000'000;

class FakePlatform final : public guest::mm::PagePlatform {
 public:
  std::function<void(unsigned)> on_doorbell = [](unsigned) {};
  std::function<void()> on_sleep = [] {}; // after which the sleep is over
  std::function<bool(abi::Gpa)> on_plug = [](abi::Gpa) { return false; };
  std::uint64_t time_ns = 1;
  unsigned doorbells = 0;
  std::uint64_t spun_ns = 0;
  std::vector<unsigned> woken;
  std::vector<std::pair<abi::Gpa, std::uint64_t>> prefaults;

  void ring_doorbell(unsigned channel) override {
    ++doorbells;
    on_doorbell(channel);
  }
  std::uint64_t now_ns() override { return time_ns; }
  bool plug(abi::Gpa next) override { return on_plug(next); }
  void prefault(abi::Gpa start, std::uint64_t bytes) override {
    prefaults.emplace_back(start, bytes);
  }
  void relax() override { time_ns += 50; }
  void nap(std::uint64_t ns) override { time_ns += ns; }
  void count_spinning(std::uint64_t ns) override { spun_ns += ns; }
  void sleep_until(unsigned, std::uint64_t deadline_ns) override {
    time_ns = std::min(deadline_ns, time_ns + second_ns / 100);
    on_sleep();
  }
  void wake(unsigned vcpu) override { woken.push_back(vcpu); }
};

struct PageAllocatorSetup {
  std::uint64_t blocks = 4; // of 4 MiB
  unsigned vcpus = 1;
  abi::ReportPolicy policy{};
  std::uint64_t plugged_frames = ~std::uint64_t{0} >> 20;
  std::uint64_t plug_frames = 0;
  guest::mm::FrameHole hole{};
  std::uint64_t timeout_ns = 0;
  std::optional<abi::Order> prefault{};
};

class PageAllocatorFixture {
 public:
  explicit PageAllocatorFixture(const PageAllocatorSetup& setup)
      : channels(setup.vcpus), metadata_(guest::mm::Buddy::metadata_bytes(
                                   {block_frames}, {block_frames * (1 + setup.blocks)})),
        pages(std::make_unique<guest::mm::PageAllocator>(
            static_cast<guest::mm::PagePlatform&>(platform),
            guest::mm::PageAllocatorConfig{.first = {block_frames},
                                           .end = {block_frames * (1 + setup.blocks)},
                                           .plugged_end = {block_frames + setup.plugged_frames},
                                           .plug_frames = setup.plug_frames,
                                           .hole = setup.hole,
                                           .policy = setup.policy,
                                           .timeout_ns = setup.timeout_ns,
                                           .control = &control,
                                           .prefault = setup.prefault},
            metadata_, channels.pointers(), status)) {
    for (abi::Channel* channel : channels.pointers()) {
      hosts.emplace_back(*channel);
    }
  }

  void answer_at_doorbell() {
    platform.on_doorbell = [this](unsigned channel) { hosts[channel].serve(discard_all); };
  }
  abi::Pfn allocate(unsigned order, unsigned vcpu = 0) {
    const guest::mm::Allocation got = pages->allocate(vcpu, {static_cast<std::uint8_t>(order)});
    REQUIRE(got.ok());
    return got.pfn;
  }
  void free(abi::Pfn pfn, unsigned order, unsigned vcpu = 0) {
    REQUIRE(pages->free(vcpu, pfn, {static_cast<std::uint8_t>(order)}) ==
            guest::mm::FreeResult::ok);
  }

  abi::GuestStatus status; // first, because of its alignment
  FakePlatform platform;
  ChannelSet channels;
  abi::ReportControl control;
  std::vector<FakeReportHost> hosts;

 private:
  std::vector<std::byte> metadata_;

 public:
  std::unique_ptr<guest::mm::PageAllocator> pages;
};

} // namespace test_support
