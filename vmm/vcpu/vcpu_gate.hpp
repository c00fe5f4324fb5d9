// SPDX-License-Identifier: MIT
// The way of vCPU threads into the guest, which can be closed: then every vCPU is out of the guest
// and stays out, so that memory and registers hold still while somebody looks at them.
//
// A vCPU thread is "inside" from enter() to leave(), that is around KVM_RUN. A thread that is busy
// elsewhere (in a hypercall, waiting for a lock) is outside already and only cannot get back in, so
// closing never waits for anything that a closed gate could hold up.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace vmm {

class VcpuGate {
 public:
  // `kick_signal` gets a thread out of KVM_RUN; it has a handler.
  VcpuGate(unsigned vcpus, int kick_signal) : kick_signal_(kick_signal), slots_(vcpus) {}
  VcpuGate(const VcpuGate&) = delete;
  VcpuGate& operator=(const VcpuGate&) = delete;

  // By the vCPU's thread, around KVM_RUN. enter() waits while the gate is closed. A kick by way of
  // `immediate_exit` (in the vCPU's kvm_run) that close() gave is taken back, and one that somebody
  // else gave meanwhile may be, too: look once more whether to go on.
  void enter(unsigned vcpu, std::uint8_t& immediate_exit);
  void leave(unsigned vcpu);

  // Returns when no vCPU is inside. By a thread that is not, and by one at a time: a close() is
  // followed by an open().
  void close();
  void open();
  // From now on nothing closes it. Any thread, at any time.
  void open_for_good();

 private:
  struct Slot {
    bool inside = false;
    bool kicked = false; // immediate_exit was set by close()
    pthread_t thread{};
    std::uint8_t* immediate_exit = nullptr;
  };

  [[nodiscard]] bool any_inside_locked() const;

  const int kick_signal_;
  std::mutex mutex_; // guards everything below
  std::condition_variable changed_;
  bool closed_ = false;
  bool for_good_ = false;
  std::vector<Slot> slots_;
};

} // namespace vmm
