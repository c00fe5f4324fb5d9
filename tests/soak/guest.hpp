// SPDX-License-Identifier: MIT
// The guest of a soak cell: a page allocator whose vCPUs are threads, and its tie to the host.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <vector>

#include "guest/mm/page_allocator.hpp"
#include "tests/soak/cell.hpp"
#include "tests/soak/movable_blocks.hpp"
#include "vmm/hints/hint_service.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace soak {

inline constexpr std::uint64_t ram_bytes = std::uint64_t{48} << 20;
inline constexpr std::uint64_t managed_start = std::uint64_t{8} << 20;

// Where an idle vCPU waits for the interrupt.
class HaltGate {
 public:
  void wake();
  // Returns whether it was woken; false after `duration_ns`.
  bool wait(std::uint64_t duration_ns);
  void clear();

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  bool pending_ = false;
};

class Platform final : public guest::mm::PagePlatform {
 public:
  Platform(vmm::HintService& host, std::array<HaltGate, EBB_MAX_VCPUS>& gates)
      : host_(host), gates_(gates) {}
  void ring_doorbell(unsigned channel) override;
  std::uint64_t now_ns() override;
  bool plug(abi::Gpa) override { return false; }
  void prefault(abi::Gpa, std::uint64_t) override {}
  void relax() override;
  void nap(std::uint64_t ns) override;
  void count_spinning(std::uint64_t) override {}
  void sleep_until(unsigned vcpu, std::uint64_t deadline_ns) override;
  void wake(unsigned vcpu) override;

 private:
  vmm::HintService& host_;
  std::array<HaltGate, EBB_MAX_VCPUS>& gates_;
};

class Guest {
 public:
  Guest(const Cell& cell, const vmm::GuestMemory& memory, vmm::HintService& host,
        std::array<HaltGate, EBB_MAX_VCPUS>& gates, std::uint64_t seed);

  // Churns with all vCPUs for that long, then gives everything back and checks the books.
  void run(std::uint64_t duration_ns);

  [[nodiscard]] std::vector<std::string> take_failures();
  [[nodiscard]] std::uint64_t blocks() const { return blocks_; }
  [[nodiscard]] std::uint64_t failed_allocations() const { return failed_allocations_; }
  [[nodiscard]] std::uint64_t moves() const { return movable_.moves(); }

 private:
  struct Block {
    abi::Pfn pfn;
    abi::Order order;
    std::uint64_t stamp = 0;
    std::uint32_t cookie = MovableBlocks::none; // if movable, pfn is where it was at first
  };
  using Random = std::mt19937_64;

  void run_vcpu(unsigned vcpu, std::uint64_t end_ns);
  void allocate(unsigned vcpu, Random& random, std::vector<Block>& held);
  void release(unsigned vcpu, Block block);
  void check_that_none_fits(unsigned vcpu, abi::Order order);
  void pass_on(Random& random, std::vector<Block>& held);
  void idle(unsigned vcpu);
  void idle_once(unsigned vcpu);
  void settle();
  void write(const Block& block);
  [[nodiscard]] bool intact(const Block& block) const;
  [[nodiscard]] bool zero(const Block& block) const;
  [[nodiscard]] std::uint64_t& word(abi::Pfn pfn, unsigned index) const;
  void fail(std::string what);

  const Cell& cell_;
  const vmm::GuestMemory& memory_;
  std::array<HaltGate, EBB_MAX_VCPUS>& gates_;
  const std::uint64_t seed_;
  Platform platform_;
  abi::GuestStatus status_;
  std::vector<std::byte> metadata_;
  std::vector<abi::Channel*> channels_;
  guest::mm::PageAllocator pages_;
  MovableBlocks movable_;
  std::shared_mutex quiet_; // shared by who is in the allocator
  std::atomic<std::uint64_t> next_stamp_{1};
  std::atomic<std::uint64_t> blocks_{0};
  std::atomic<std::uint64_t> failed_allocations_{0};
  std::mutex mutex_;           // guards the next two
  std::vector<Block> passing_; // on their way from one vCPU to another
  std::vector<std::string> failures_;
};

} // namespace soak
