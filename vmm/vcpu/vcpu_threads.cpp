// SPDX-License-Identifier: MIT
#include "vmm/vcpu/vcpu_threads.hpp"

#include <pthread.h>
#include <sys/prctl.h>

namespace vmm {

namespace {

// A handler that does nothing: what matters is that KVM_RUN returns EINTR, which it does whatever
// the flags. A write of the guest's output, on the other hand, goes on.
void install_kick_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  ::sigaction(VcpuThreads::kick_signal, &action, nullptr);
}

} // namespace

Result<void> VcpuThreads::start(const ThreadStart& on_start,
                                const std::function<void(unsigned vcpu)>& run) {
  install_kick_handler();
  for (unsigned index = 0; index < count(); ++index) {
    EBB_TRY_ASSIGN(thread, Thread::make(
                               "a vCPU",
                               [on_start] {
                                 // The default slack of 50 us would be added to every wait of the
                                 // guest.
                                 ::prctl(PR_SET_TIMERSLACK, 1UL);
                                 if (on_start) {
                                   on_start();
                                 }
                               },
                               [run, index, &gate = gates_[index]] {
                                 if (gate.wait()) {
                                   run(index);
                                 }
                               }));
    threads_.push_back(std::move(thread));
  }
  return {};
}

void VcpuThreads::run_others() {
  for (std::size_t index = 1; index < gates_.size(); ++index) {
    gates_[index].open();
  }
}

void VcpuThreads::kick(unsigned vcpu) {
  vcpus_[vcpu].request_exit();
  const std::scoped_lock lock(mutex_);
  if (!joining_ && vcpu < threads_.size()) {
    ::pthread_kill(threads_[vcpu].native_handle(), kick_signal);
  }
}

void VcpuThreads::stop() {
  for (unsigned index = 0; index < count(); ++index) {
    gates_[index].cancel();
    kick(index);
  }
  {
    const std::scoped_lock lock(mutex_);
    joining_ = true;
  }
  for (Thread& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

} // namespace vmm
