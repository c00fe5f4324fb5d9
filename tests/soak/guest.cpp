// SPDX-License-Identifier: MIT
#include "tests/soak/guest.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "vmm/base/clock.hpp"
#include "vmm/measure/sampler.hpp"

namespace soak {
namespace {

using guest::mm::AllocateStatus;
using guest::mm::Allocation;
using guest::mm::Content;
using guest::mm::FreeResult;

constexpr unsigned largest_order = 6;
constexpr std::size_t most_failures = 10;
constexpr std::uint32_t most_movable = 2048;
// Words of a page that are written and verified.
constexpr std::array<unsigned, 4> marked_words{0, 129, 300, 511};
// All vCPUs together hold at most this part of memory; what is in flight competes for the rest.
constexpr std::uint64_t live_frames = (ram_bytes - managed_start) / abi::page_bytes * 8 / 10;
constexpr std::uint64_t nap_ns = 3'000'000;
// An interrupt that has not come by then is lost; the answer it is for has been there all along.
constexpr std::uint64_t lost_after_ns = 5'000'000'000;
constexpr std::uint64_t settle_ns = 20'000'000'000;

abi::ReportPolicy policy_for(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  return {.order = static_cast<std::uint32_t>(random() % 6),
          .batch = static_cast<std::uint32_t>(1 + random() % 12),
          .keep_bytes = random() % 3 == 0 ? std::uint64_t{1} << 20 : 0};
}

std::vector<abi::Channel*> channels_of(const vmm::GuestMemory& memory, unsigned vcpus) {
  std::vector<abi::Channel*> channels;
  channels.reserve(vcpus);
  for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
    channels.push_back(memory.object_at<abi::Channel>(
        {EBB_CHANNEL_GPA + std::uint64_t{vcpu} * EBB_CHANNEL_BYTES}));
  }
  return channels;
}

constexpr std::uint64_t longest_sleep_ns = 1'000'000'000;
constexpr abi::Pfn first_pfn = abi::to_pfn({managed_start});
constexpr abi::Pfn end_pfn = abi::to_pfn({ram_bytes});

} // namespace

void HaltGate::wake() {
  const std::scoped_lock lock(mutex_);
  pending_ = true;
  woken_.notify_one();
}

bool HaltGate::wait(std::uint64_t duration_ns) {
  std::unique_lock lock(mutex_);
  woken_.wait_for(lock, std::chrono::nanoseconds(duration_ns), [this] { return pending_; });
  return std::exchange(pending_, false);
}

void HaltGate::clear() {
  const std::scoped_lock lock(mutex_);
  pending_ = false;
}

void Platform::ring_doorbell(unsigned channel) {
  if (host_.mode() == vmm::HostMode::sync) {
    static_cast<void>(host_.serve(channel)); // the exit
  } else {
    static_cast<void>(::eventfd_write(host_.doorbell_fd(channel), 1)); // the ioeventfd
  }
}

std::uint64_t Platform::now_ns() {
  return vmm::monotonic_ns();
}

void Platform::relax() {
  std::this_thread::yield();
}

void Platform::nap(std::uint64_t ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
}

void Platform::sleep_until(unsigned vcpu, std::uint64_t deadline_ns) {
  const std::uint64_t now = now_ns();
  if (now < deadline_ns) {
    // Returning early is allowed, and keeps the arithmetic far from overflow.
    gates_[vcpu].wait(std::min(deadline_ns - now, longest_sleep_ns));
  }
}

void Platform::wake(unsigned vcpu) {
  gates_[vcpu].wake();
}

Guest::Guest(const Cell& cell, const vmm::GuestMemory& memory, vmm::HintService& host,
             std::array<HaltGate, EBB_MAX_VCPUS>& gates, std::uint64_t seed)
    : cell_(cell), memory_(memory), gates_(gates), seed_(seed), platform_(host, gates),
      metadata_(guest::mm::Buddy::metadata_bytes(first_pfn, end_pfn)),
      channels_(channels_of(memory, cell.vcpus)),
      pages_(platform_,
             {.first = first_pfn,
              .end = end_pfn,
              .plugged_end = end_pfn,
              .policy = policy_for(seed),
              .oom_timeout_ns = cell.answers_all() ? settle_ns : 20'000'000},
             metadata_, channels_, status_),
      movable_(memory, most_movable) {
  pages_.set_mover(&movable_);
}

void Guest::run(std::uint64_t duration_ns) {
  const std::uint64_t end_ns = vmm::monotonic_ns() + duration_ns;
  {
    std::vector<std::jthread> threads;
    threads.reserve(cell_.vcpus);
    for (unsigned vcpu = 0; vcpu < cell_.vcpus; ++vcpu) {
      threads.emplace_back([this, vcpu, end_ns] { run_vcpu(vcpu, end_ns); });
    }
  }
  settle();
}

void Guest::run_vcpu(unsigned vcpu, std::uint64_t end_ns) {
  Random random(seed_ * 31 + vcpu);
  std::vector<Block> held;
  while (vmm::monotonic_ns() < end_ns) {
    // Grows and shrinks in waves, so that whole blocks merge and are hinted.
    const bool growing = random() % 2 == 0;
    for (unsigned step = 0; step < 400; ++step) {
      if (held.empty() || (random() % 8 < 7) == growing) {
        allocate(vcpu, random, held);
      } else if (random() % 4 == 0) {
        pass_on(random, held);
      } else {
        std::swap(held[random() % held.size()], held.back());
        release(vcpu, held.back());
        held.pop_back();
      }
    }
    if (random() % 4 == 0) {
      idle(vcpu);
    }
  }
  for (const Block& block : held) {
    release(vcpu, block);
  }
}

void Guest::allocate(unsigned vcpu, Random& random, std::vector<Block>& held) {
  const abi::Order order{static_cast<std::uint8_t>(random() % (largest_order + 1))};
  std::uint64_t mine = order.frames();
  for (const Block& block : held) {
    mine += block.order.frames();
  }
  if (mine > live_frames / cell_.vcpus) {
    return;
  }
  Allocation got;
  {
    const std::shared_lock in_use(quiet_);
    got = pages_.allocate(vcpu, order);
  }
  if (!got.ok()) {
    ++failed_allocations_;
    if (cell_.answers_all()) {
      check_that_none_fits(vcpu, order);
    }
    return;
  }
  Block block{got.pfn, order, next_stamp_.fetch_add(1, std::memory_order_relaxed)};
  if (got.content == Content::zeroed && !zero(block)) {
    fail(fmt::format("frame {:#x} was promised to be zero", block.pfn.value));
  }
  write(block);
  if (random() % 2 == 0) {
    block.cookie = movable_.add(block.pfn, order);
    if (block.cookie != MovableBlocks::none) {
      pages_.make_movable(block.pfn, order, block.cookie);
    }
  }
  held.push_back(block);
  ++blocks_;
}

// Memory is never full here and every batch is answered, so a block may be missing only because
// what is free lies in smaller pieces. Looks while nobody else is in the allocator.
void Guest::check_that_none_fits(unsigned vcpu, abi::Order order) {
  const std::unique_lock alone(quiet_);
  if (const Allocation again = pages_.allocate(vcpu, order); again.ok()) {
    static_cast<void>(pages_.free(vcpu, again.pfn, order));
    return; // somebody has freed one since
  }
  for (std::uint8_t larger = order.value; larger < abi::order_count; ++larger) {
    if (pages_.buddy().free_blocks({larger}) != 0) {
      fail(fmt::format("allocation of order {} failed with a free block of order {}", order.value,
                       larger));
      return;
    }
  }
}

void Guest::release(unsigned vcpu, Block block) {
  if (block.cookie != MovableBlocks::none) {
    block.pfn = movable_.remove(block.cookie);
  }
  if (!intact(block)) {
    fail(fmt::format("contents of frame {:#x}, order {}, were lost", block.pfn.value,
                     block.order.value));
  }
  const std::shared_lock in_use(quiet_);
  if (pages_.free(vcpu, block.pfn, block.order) != FreeResult::ok) {
    fail(fmt::format("frame {:#x} could not be freed", block.pfn.value));
  }
}

// Swaps a block for one of another vCPU, which thus is freed elsewhere than it was allocated.
void Guest::pass_on(Random& random, std::vector<Block>& held) {
  Block& mine = held[random() % held.size()];
  const std::scoped_lock lock(mutex_);
  if (passing_.size() < 4) {
    passing_.push_back(mine);
    std::swap(mine, held.back());
    held.pop_back();
  } else {
    std::swap(mine, passing_[random() % passing_.size()]);
  }
}

void Guest::idle_once(unsigned vcpu) {
  const std::shared_lock in_use(quiet_);
  static_cast<void>(pages_.idle(vcpu));
}

// As a guest kernel halts: ask for an interrupt, look once more, sleep.
void Guest::idle(unsigned vcpu) {
  idle_once(vcpu);
  gates_[vcpu].clear();
  if (!pages_.arm_interrupt(vcpu)) {
    idle_once(vcpu);
    return;
  }
  bool woken = gates_[vcpu].wait(nap_ns);
  abi::ChannelRings& rings = channels_[vcpu]->rings;
  const auto answered = [&rings] {
    return std::atomic_ref(rings.complete_tail).load(std::memory_order_seq_cst) !=
           std::atomic_ref(rings.complete_head).load(std::memory_order_seq_cst);
  };
  // Nobody else drains while we look only if this is the one vCPU; then the interrupt must come.
  if (!woken && cell_.vcpus == 1 && answered() && !gates_[vcpu].wait(lost_after_ns)) {
    fail("an answer came without the interrupt that was asked for");
  }
  pages_.disarm_interrupt(vcpu);
  idle_once(vcpu);
}

void Guest::settle() {
  for (const Block& block : std::exchange(passing_, {})) {
    release(0, block);
  }
  const bool settled =
      pages_.quiesce(0, vmm::monotonic_ns() + (cell_.answers_all() ? settle_ns : 100'000'000)) ==
      guest::mm::QuiesceResult::settled;
  if (cell_.answers_all() && (!settled || status_.isolated_bytes != 0)) {
    fail(fmt::format("{} bytes are still in flight though every batch is answered",
                     status_.isolated_bytes));
  }
  if (status_.redundant_bytes != 0) {
    fail(fmt::format("{} bytes were hinted twice", status_.redundant_bytes));
  }
  std::uint64_t allocated = 0;
  std::uint64_t freed = 0;
  for (const abi::VcpuCounters& counters : status_.vcpu) {
    allocated += counters.allocated_frames;
    freed += counters.freed_frames;
  }
  if (allocated != freed) {
    fail(fmt::format("{} frames allocated, {} freed", allocated, freed));
  }
}

void Guest::write(const Block& block) {
  for (std::uint64_t frame = 0; frame < block.order.frames(); ++frame) {
    for (const unsigned index : marked_words) {
      word(block.pfn + frame, index) = block.stamp ^ (frame << 32) ^ index;
    }
  }
}

bool Guest::intact(const Block& block) const {
  for (std::uint64_t frame = 0; frame < block.order.frames(); ++frame) {
    for (const unsigned index : marked_words) {
      if (word(block.pfn + frame, index) != (block.stamp ^ (frame << 32) ^ index)) {
        return false;
      }
    }
  }
  return true;
}

bool Guest::zero(const Block& block) const {
  for (std::uint64_t frame = 0; frame < block.order.frames(); ++frame) {
    for (const unsigned index : marked_words) {
      if (word(block.pfn + frame, index) != 0) {
        return false;
      }
    }
  }
  return true;
}

std::uint64_t& Guest::word(abi::Pfn pfn, unsigned index) const {
  return *memory_.object_at<std::uint64_t>(abi::to_gpa(pfn) + index * sizeof(std::uint64_t));
}

void Guest::fail(std::string what) {
  const std::scoped_lock lock(mutex_);
  if (failures_.size() < most_failures) {
    failures_.push_back(std::move(what));
  }
}

std::vector<std::string> Guest::take_failures() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(failures_, {});
}

} // namespace soak
