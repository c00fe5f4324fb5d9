// SPDX-License-Identifier: MIT
// The way of vCPU threads into the guest, which can be closed: then every vCPU is out of the guest
// and stays out, so that memory and registers hold still while somebody looks at them.
//
// A vCPU thread is "inside" from before_entry() to after_exit(), that is around KVM_RUN. A thread
// that is busy elsewhere (in a hypercall, waiting for a lock) is outside already and only cannot
// get back in, so closing never waits for anything that a closed gate could hold up.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "vmm/vcpu/vcpu_hook.hpp"

namespace vmm {

class VcpuGate final : public VcpuHook {
 public:
  // `kick_signal` gets a thread out of KVM_RUN; it has a handler.
  VcpuGate(unsigned vcpus, int kick_signal) : kick_signal_(kick_signal), slots_(vcpus) {}

  // Waits while the gate is closed; always true. A kick by way of `immediate_exit` that close()
  // gave is taken back, and one that somebody else gave meanwhile may be, too.
  [[nodiscard]] bool before_entry(unsigned vcpu, std::uint8_t& immediate_exit) override;
  void after_exit(unsigned vcpu) override;

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
