// SPDX-License-Identifier: MIT
#include "vmm/vcpu/vcpu_gate.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>

namespace vmm {

bool VcpuGate::before_entry(unsigned vcpu, std::uint8_t& immediate_exit) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !closed_; });
  Slot& slot = slots_[vcpu];
  slot.thread = ::pthread_self();
  slot.immediate_exit = &immediate_exit;
  if (slot.kicked) {
    std::atomic_ref(immediate_exit).store(0, std::memory_order_release);
    slot.kicked = false;
  }
  slot.inside = true;
  return true;
}

void VcpuGate::after_exit(unsigned vcpu) {
  {
    const std::scoped_lock lock(mutex_);
    slots_[vcpu].inside = false;
  }
  changed_.notify_all();
}

bool VcpuGate::any_inside_locked() const {
  return std::ranges::any_of(slots_, &Slot::inside);
}

void VcpuGate::close() {
  std::unique_lock lock(mutex_);
  if (for_good_) {
    return;
  }
  closed_ = true;
  for (Slot& slot : slots_) {
    if (slot.inside) {
      // KVM looks at this byte before it enters the guest; the signal is for a thread that is
      // there already. It cannot be gone: it has to come through after_exit() first.
      std::atomic_ref(*slot.immediate_exit).store(1, std::memory_order_release);
      slot.kicked = true;
      ::pthread_kill(slot.thread, kick_signal_);
    }
  }
  changed_.wait(lock, [this] { return !any_inside_locked() || for_good_; });
}

void VcpuGate::open() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = false;
  }
  changed_.notify_all();
}

void VcpuGate::open_for_good() {
  {
    const std::scoped_lock lock(mutex_);
    for_good_ = true;
    closed_ = false;
  }
  changed_.notify_all();
}

} // namespace vmm
