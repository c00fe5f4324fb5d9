// SPDX-License-Identifier: MIT
// What a program needs of the machine beside memory and files: vCPUs and the way into the kernel,
// time, signals from outside, its end.
#pragma once

#include <array>

#include "guest/kernel/kernel.hpp"
#include "guest/linux/base/machine.hpp"
#include "guest/linux/threads/kernel_lock.hpp"

namespace guest {

class ProgramMachine final : public linux::Machine, private linux::VcpuInterrupts {
 public:
  explicit ProgramMachine(Kernel& kernel);

  // From the program's code, or a vCPU's beginning, into the kernel, and back.
  linux::KernelLock::Entry enter_kernel();
  // It was called, and has not looked why: it is interrupted again.
  void call_again();
  void leave_kernel() { lock_.leave(vcpu_); }
  // Whether the calling vCPU is there.
  [[nodiscard]] bool is_in_kernel() const;

  [[nodiscard]] std::uint64_t now_ns() override { return kernel_.now_ns(); }
  [[nodiscard]] bool sleep_until_ns(std::uint64_t deadline) override;
  [[nodiscard]] bool take_ready_files() override;
  [[nodiscard]] bool set_alarm_ns(std::uint64_t deadline) override;
  [[nodiscard]] linux::SignalSet take_signals() override;
  void set_handled_signals(linux::SignalSet signals) override;
  void set_thread_pointer(std::uint64_t address) override;
  [[nodiscard]] std::uint64_t ram_bytes() const override { return kernel_.ram_bytes(); }
  [[nodiscard]] unsigned vcpus() const override { return kernel_.boot().vcpus; }
  [[nodiscard]] unsigned vcpu() const override { return vcpu_; }
  void call(unsigned vcpu) override { lock_.call(vcpu); }
  void stop_others() override { lock_.stop_others(vcpu_, kernel_.backoff()); }
  [[nodiscard]] linux::KernelLock& lock() { return lock_; }
  [[noreturn]] void exit(std::uint8_t status) override;

 private:
  static constexpr unsigned first_vcpu = 0; // which the host interrupts

  [[nodiscard]] std::uint32_t& called(unsigned vcpu) override;
  void interrupt(unsigned vcpu) override;
  void forget(unsigned vcpu) override;

  // For the vCPU: a signal, or a file that is ready. Others do not take signals, but have watched
  // files that were ready at once.
  [[nodiscard]] static bool is_awaited(unsigned vcpu);
  // Outside the kernel, with others.
  void rest_until_ns(unsigned vcpu, std::uint64_t deadline);
  [[nodiscard]] bool is_over(unsigned vcpu, std::uint64_t deadline);

  Kernel& kernel_;
  linux::KernelLock lock_;
  unsigned vcpu_ = first_vcpu;
  // Of each vCPU.
  std::array<std::uint64_t, linux::KernelLock::most_vcpus> alarm_ns_{};
  std::array<std::uint64_t, linux::KernelLock::most_vcpus> last_rest_ns_{}; // how long it was
};

} // namespace guest
