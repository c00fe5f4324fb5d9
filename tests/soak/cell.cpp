// SPDX-License-Identifier: MIT
#include "tests/soak/cell.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "shared/abi_version.hpp"
#include "tests/soak/guest.hpp"
#include "vmm/hints/adversary/adversary.hpp"

namespace soak {
namespace {

using vmm::HostMode;

constexpr std::array<std::pair<std::string_view, std::string_view>, 9> lone_faults{
    {{"honest", ""},
     {"delay", "delay=2ms"},
     {"drop", "drop=0.05"},
     {"duplicate", "duplicate=0.3"},
     {"reorder", "reorder"},
     {"partial", "partial=0.3"},
     {"decline", "decline=0.3"},
     {"fail", "fail=0.2"},
     {"stall", "stall-after=40"}}};

vmm::FaultOptions mixed(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto rate = [&random](double most) {
    return random() % 2 == 0 ? 0 : most * static_cast<double>(random() % 100) / 100;
  };
  vmm::FaultOptions faults;
  faults.delay_ns = random() % 2 == 0 ? 0 : random() % 3'000'000;
  faults.drop = rate(0.02);
  faults.duplicate = rate(0.5);
  faults.partial = rate(0.5);
  faults.decline = rate(0.5);
  faults.fail = rate(0.3);
  faults.reorder = random() % 2 == 0;
  return faults;
}

// The real calls, of a host that now and then loses its core before it gets to them: what is
// discarded too late, after its answer, hits memory that the guest uses again.
class HesitantCalls final : public vmm::DiscardCalls {
 public:
  int madvise(std::byte* address, std::size_t bytes, int advice) override {
    hesitate();
    return system_.madvise(address, bytes, advice);
  }
  std::expected<std::size_t, int> process_madvise(int pidfd, std::span<const iovec> ranges,
                                                  int advice) override {
    hesitate();
    return system_.process_madvise(pidfd, ranges, advice);
  }
  int punch_hole(int fd, std::uint64_t offset, std::uint64_t bytes) override {
    return system_.punch_hole(fd, offset, bytes);
  }

 private:
  void hesitate() {
    if (calls_.fetch_add(1, std::memory_order_relaxed) % 4 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  vmm::SystemDiscardCalls system_;
  std::atomic<std::uint64_t> calls_{0};
};

vmm::Result<std::unique_ptr<vmm::HintService>>
start_host(const Cell& cell, const vmm::GuestMemory& memory, vmm::DiscardCalls& calls,
           std::array<HaltGate, EBB_MAX_VCPUS>& gates, std::uint64_t seed) {
  const vmm::HintEvents events{.interrupt = [&gates](unsigned channel) { gates[channel].wake(); }};
  std::unique_ptr<vmm::Adversary> adversary;
  if (cell.faults.any()) {
    EBB_TRY_ASSIGN(made,
                   vmm::Adversary::create(memory, cell.vcpus, {.faults = cell.faults, .seed = seed},
                                          calls, events));
    adversary = std::move(made);
  }
  EBB_TRY_ASSIGN(host, vmm::HintService::create(memory, cell.vcpus,
                                                {.mode = cell.mode, .workers = cell.workers}, calls,
                                                events, std::move(adversary)));
  EBB_TRY(host->make_threads({}));
  host->configure({.features_accepted = abi::feature_report | abi::feature_async,
                   .managed_start_gpa = managed_start},
                  vmm::HintCheck::off);
  return host;
}

} // namespace

std::vector<Cell> matrix(std::uint64_t seed) {
  std::vector<Cell> cells;
  for (const auto& [mode, workers] : {std::pair{HostMode::sync, 1U}, std::pair{HostMode::async, 1U},
                                      std::pair{HostMode::async, 2U}, std::pair{HostMode::poll, 1U},
                                      std::pair{HostMode::poll, 2U}}) {
    for (const unsigned vcpus : {1U, 2U, 4U}) {
      const auto add = [&](std::string_view name, const vmm::FaultOptions& faults) {
        cells.push_back(
            {.name = fmt::format("{} x{}, {} vCPUs, {}", name_of(mode), workers, vcpus, name),
             .mode = mode,
             .workers = workers,
             .vcpus = vcpus,
             .faults = faults});
      };
      for (const auto& [name, text] : lone_faults) {
        add(name, text.empty() ? vmm::FaultOptions{} : vmm::parse_fault_options(text).value());
      }
      add("mixed", mixed(seed + cells.size()));
    }
  }
  return cells;
}

Verdict run_cell(const Cell& cell, std::uint64_t duration_ns, std::uint64_t seed) {
  Verdict verdict;
  auto memory = vmm::GuestMemory::create(ram_bytes, vmm::Backing::small_pages);
  if (!memory) {
    verdict.failures.push_back(memory.error().message);
    return verdict;
  }
  std::array<HaltGate, EBB_MAX_VCPUS> gates;
  HesitantCalls calls;
  auto host = start_host(cell, *memory, calls, gates, seed);
  if (!host) {
    verdict.failures.push_back(host.error().message);
    return verdict;
  }
  Guest guest(cell, *memory, **host, gates, seed);
  guest.run(duration_ns);
  (*host)->stop();

  const vmm::HintTotals totals = (*host)->totals();
  verdict.failures = guest.take_failures();
  verdict.blocks = guest.blocks();
  verdict.batches = totals.batches;
  verdict.moves = guest.moves();
  verdict.faults = totals.faults.sum();
  verdict.failed_allocations = guest.failed_allocations();
  if (totals.protocol_errors != 0) {
    verdict.failures.push_back(
        fmt::format("{} protocol errors of an honest guest", totals.protocol_errors));
  }
  if (totals.batches == 0) {
    verdict.failures.emplace_back("no batch was ever submitted");
  }
  return verdict;
}

} // namespace soak
