// SPDX-License-Identifier: MIT
// One cell of the soak matrix: a host of some mode with some faults, and a guest of some vCPUs that
// churns through its memory and verifies every page. No KVM: the guest is its page allocator on
// threads, with real memory that the host's hint service really discards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/hints/adversary/fault_plan.hpp"
#include "vmm/settings/host_mode.hpp"

namespace soak {

struct Cell {
  std::string name;
  vmm::HostMode mode = vmm::HostMode::sync;
  unsigned workers = 1;
  unsigned vcpus = 1;
  vmm::FaultOptions faults{};

  // Whether every batch is answered in the end.
  [[nodiscard]] bool answers_all() const { return faults.drop == 0 && !faults.stall_after; }
};

struct Verdict {
  std::vector<std::string> failures; // empty: passed
  std::uint64_t blocks = 0;          // allocated and verified
  std::uint64_t batches = 0;
  std::uint64_t moves = 0; // of blocks, by the compactor
  std::uint64_t faults = 0;
  std::uint64_t failed_allocations = 0; // allowed where answers may be missing, or memory in pieces
};

// Runs for about `duration_ns`. The same seed gives the same faults and the same requests of each
// vCPU, though not the same interleaving.
Verdict run_cell(const Cell& cell, std::uint64_t duration_ns, std::uint64_t seed);

// All modes, 1 and 2 workers, 1, 2 and 4 vCPUs, an honest host and every fault alone and mixed.
std::vector<Cell> matrix(std::uint64_t seed);

} // namespace soak
