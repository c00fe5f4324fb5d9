// SPDX-License-Identifier: MIT
// The threads that run the vCPUs. All of them are made before the guest's first instruction and
// wait until their vCPU may start; once the guest has ended they are called out of it and joined.
#pragma once

#include <csignal>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/vcpu/vcpu_runner.hpp"

namespace vmm {

// Of all vCPUs together.
struct ExitTotals {
  std::uint64_t exits = 0; // returns from KVM_RUN other than kicks
  std::uint64_t doorbells = 0;
  std::uint64_t vmcalls = 0; // doorbells among them that came as a hypercall
};

class VcpuThreads {
 public:
  // Gets a vCPU's thread out of KVM_RUN.
  static constexpr int kick_signal = SIGUSR1;

  VcpuThreads() = default;
  VcpuThreads(const VcpuThreads&) = delete;
  VcpuThreads& operator=(const VcpuThreads&) = delete;

  // Before start(): the n-th runs vCPU n.
  void add(std::unique_ptr<VcpuRunner> runner);

  [[nodiscard]] unsigned count() const { return static_cast<unsigned>(runners_.size()); }
  // What is set before start() may be set here.
  [[nodiscard]] std::span<const std::unique_ptr<VcpuRunner>> runners() const { return runners_; }

  // Makes the threads, which do `on_start` and wait. Environment error when the host has no more.
  [[nodiscard]] Result<void> start(const ThreadStart& on_start);

  // Lets vCPU 0 run, or all the others. Any thread, any number of times.
  void run_first() { gates_[0]->open(); }
  void run_others();
  // Returns when vCPU 0 may run, or never will. Any thread.
  void wait_for_first() const { static_cast<void>(gates_[0]->wait()); }

  // Makes a vCPU's thread look up from the guest soon. Any thread, at any time.
  void kick(unsigned vcpu);

  // The guest has ended: returns when all threads have, also those that never ran.
  void stop();

  // Exact after stop().
  [[nodiscard]] ExitTotals totals() const;

 private:
  std::vector<std::unique_ptr<VcpuRunner>> runners_;
  std::vector<std::unique_ptr<StartGate>> gates_; // one for each runner
  std::mutex mutex_;                              // guards the next two against kicks
  std::vector<Thread> threads_;
  bool joining_ = false; // kick no more
};

} // namespace vmm
