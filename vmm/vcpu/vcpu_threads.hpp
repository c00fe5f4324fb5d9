// SPDX-License-Identifier: MIT
// The threads that run the vCPUs. All of them are made before the guest's first instruction and
// wait until their vCPU may start; once the guest has ended they are called out of it and joined.
#pragma once

#include <csignal>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/kvm/kvm.hpp"

namespace vmm {

class VcpuThreads {
 public:
  // Gets a vCPU's thread out of KVM_RUN. By default it is ignored, and nobody sends it to a process
  // for what else it could mean.
  static constexpr int kick_signal = SIGURG;

  // `vcpus` outlive the threads; there is at least one.
  explicit VcpuThreads(std::span<const Vcpu> vcpus) : vcpus_(vcpus), gates_(vcpus.size()) {}
  VcpuThreads(const VcpuThreads&) = delete;
  VcpuThreads& operator=(const VcpuThreads&) = delete;

  [[nodiscard]] unsigned count() const { return static_cast<unsigned>(vcpus_.size()); }

  // Makes the threads, which do `on_start`, wait, and do `run` for their vCPU, unless the guest has
  // ended by then. `run` returns soon after a kick at the guest's end. Once. Environment error when
  // the host has no more threads.
  [[nodiscard]] Result<void> start(const ThreadStart& on_start,
                                   const std::function<void(unsigned vcpu)>& run);

  // Lets vCPU 0 run, or all the others. Any thread, any number of times.
  void run_first() { gates_[0].open(); }
  void run_others();
  // Returns when vCPU 0 may run, or never will. Any thread.
  void wait_for_first() const { static_cast<void>(gates_[0].wait()); }

  // Makes a vCPU's thread look up from the guest soon. Any thread, at any time.
  void kick(unsigned vcpu);

  // The guest has ended: returns when all threads have, also those that never ran.
  void stop();

 private:
  const std::span<const Vcpu> vcpus_;
  std::vector<StartGate> gates_; // one for each vCPU
  std::mutex mutex_;             // guards the next two against kicks
  std::vector<Thread> threads_;
  bool joining_ = false; // kick no more
};

} // namespace vmm
