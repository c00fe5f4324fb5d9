// SPDX-License-Identifier: MIT
// A hint service as the vmm sets it up, and the guest's side of its channels driven by hand.
#pragma once

#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "vmm/base/units.hpp"
#include "vmm/hints/adversary/adversary.hpp"
#include "vmm/hints/hint_service.hpp"

namespace test_support {

// The real calls, behind a gate that a test can close: whoever discards waits there.
class GatedCalls final : public vmm::DiscardCalls {
 public:
  int madvise(std::byte* address, std::size_t bytes, int advice) override {
    pass();
    return system_.madvise(address, bytes, advice);
  }
  std::expected<std::size_t, int> process_madvise(int pidfd, std::span<const iovec> ranges,
                                                  int advice) override {
    pass();
    return system_.process_madvise(pidfd, ranges, advice);
  }
  int punch_hole(int, std::uint64_t, std::uint64_t) override { return 0; }

  // Lets one call at a time through for each allow(), until open().
  void close() { set_allowed(0); }
  void open() { set_allowed(unlimited); }
  void allow() {
    const std::scoped_lock lock(mutex_);
    ++allowed_;
    changed_.notify_all();
  }
  void await_waiting(unsigned count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, count] { return waiting_ >= count; });
  }

 private:
  static constexpr std::uint64_t unlimited = std::uint64_t{1} << 62;

  void set_allowed(std::uint64_t allowed) {
    const std::scoped_lock lock(mutex_);
    allowed_ = allowed;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return allowed_ != 0; });
    --allowed_;
    --waiting_;
  }

  vmm::SystemDiscardCalls system_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t allowed_ = unlimited;
  unsigned waiting_ = 0;
};

// What a host is to be like: honest without faults and hand.
struct HostPlan {
  vmm::HintServiceOptions service{};
  vmm::FaultOptions faults{};
  vmm::FaultsByHand by_hand{};
  int stop_fd = -1;
  vmm::HintObserver* observer = nullptr; // outlives the host; null: nobody watches
};

inline HostPlan plan_of(vmm::HostMode mode, unsigned workers = 1, vmm::FaultOptions faults = {}) {
  return {.service = {.mode = mode, .workers = workers}, .faults = faults};
}

class DrivenHost {
 public:
  static constexpr std::uint64_t ram_bytes = 16 * vmm::mib;
  static constexpr std::uint64_t managed_start = 8 * vmm::mib;

  explicit DrivenHost(const HostPlan& plan, unsigned channels = 1,
                      std::uint64_t features = abi::feature_report | abi::feature_async)
      : memory(*vmm::GuestMemory::create(ram_bytes, vmm::Backing::small_pages)) {
    const vmm::HintEvents events{.interrupt = [this](unsigned) { ++interrupts; }};
    std::unique_ptr<vmm::Adversary> adversary;
    if (plan.faults.any() || plan.by_hand) {
      adversary = *vmm::Adversary::create(memory, channels,
                                          {.faults = plan.faults, .stop_fd = plan.stop_fd}, calls,
                                          events, plan.by_hand);
    }
    auto created = vmm::HintService::create(memory, channels, plan.service, calls, events,
                                            std::move(adversary), plan.observer);
    REQUIRE(created.has_value());
    service = std::move(*created);
    REQUIRE(service->make_threads({}));
    service->configure({.features_accepted = features, .managed_start_gpa = managed_start},
                       vmm::HintCheck::off);
  }
  ~DrivenHost() { calls.open(); } // before the service waits for its threads

  [[nodiscard]] abi::Channel& channel(unsigned index = 0) const {
    return *memory.object_at<abi::Channel>(
        {EBB_CHANNEL_GPA + std::uint64_t{index} * EBB_CHANNEL_BYTES});
  }
  [[nodiscard]] std::uint32_t answers(unsigned index = 0) const {
    return std::atomic_ref(channel(index).rings.complete_tail).load(std::memory_order_seq_cst);
  }
  void await_answers(std::uint32_t count, unsigned index = 0) const {
    while (answers(index) < count) {
      std::this_thread::yield();
    }
  }
  [[nodiscard]] abi::CompletionEntry& answer(std::uint32_t number, unsigned index = 0) const {
    return channel(index).rings.completions[number % abi::completion_entries];
  }
  void consume(std::uint32_t count, unsigned index = 0) const {
    std::atomic_ref(channel(index).rings.complete_head).store(count, std::memory_order_release);
  }

  // A batch of single pages. Returns whether the host wants the doorbell.
  bool submit(std::uint64_t id, std::uint32_t page, std::uint32_t ranges = 1, unsigned index = 0) {
    abi::Channel& c = channel(index);
    for (std::uint32_t range = 0; range < ranges; ++range) {
      c.pages[page].ranges[range] = abi::RangeDescriptor::make(abi::to_pfn({page_gpa(page, range)}),
                                                               {0}, abi::RangeKind::hint);
    }
    c.rings.submissions[tails[index] % abi::ring_entries] = {id, page, ranges};
    std::atomic_ref(c.rings.submit_tail).store(++tails[index], std::memory_order_seq_cst);
    return std::atomic_ref(c.rings.no_doorbell).load(std::memory_order_seq_cst) == 0;
  }
  static std::uint64_t page_gpa(std::uint32_t page, std::uint32_t range) {
    return managed_start + (std::uint64_t{page} * 64 + 2 * std::uint64_t{range}) * abi::page_bytes;
  }
  // As KVM does for an ioeventfd.
  void ring(unsigned index = 0) const {
    REQUIRE(::eventfd_write(service->doorbell_fd(index), 1) == 0);
  }
  void serve(unsigned index = 0) const { CHECK_FALSE(service->serve(index).has_value()); }
  void mark(std::uint32_t page, std::uint32_t range = 0) const {
    *memory.object_at<std::uint64_t>({page_gpa(page, range)}) = 77;
  }
  [[nodiscard]] bool marked(std::uint32_t page, std::uint32_t range = 0) const {
    return *memory.object_at<std::uint64_t>({page_gpa(page, range)}) == 77;
  }

  vmm::GuestMemory memory;
  GatedCalls calls;
  std::atomic<unsigned> interrupts{0};
  std::array<std::uint32_t, 4> tails{};
  std::unique_ptr<vmm::HintService> service;
};

} // namespace test_support
