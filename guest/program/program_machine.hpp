// SPDX-License-Identifier: MIT
// What a program needs of the machine beside memory and files: time, signals from outside, its end.
#pragma once

#include <atomic>

#include "guest/arch/cpu.hpp"
#include "guest/arch/program.hpp"
#include "guest/kernel/kernel.hpp"
#include "guest/linux/base/machine.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/print.hpp"

namespace guest {

class ProgramMachine final : public linux::Machine {
 public:
  explicit ProgramMachine(Kernel& kernel) : kernel_(kernel) {}

  [[nodiscard]] std::uint64_t now_ns() override { return kernel_.now_ns(); }
  [[nodiscard]] bool sleep_until_ns(std::uint64_t deadline) override {
    while (!arch::is_something_sent()) {
      kernel_.doze_until_ns(deadline); // also a sleep of no length is a chance to report
      if (kernel_.now_ns() >= deadline) {
        break;
      }
    }
    const bool is_ready = take_ready_files();
    return is_ready || arch::signal_is_sent();
  }
  [[nodiscard]] bool take_ready_files() override {
    const std::atomic_ref ready(arch::vcpu_page().streams_ready);
    return ready.load(std::memory_order_relaxed) != 0 &&
           ready.exchange(0, std::memory_order_acquire) != 0;
  }
  // There is one timer. What comes while the kernel runs sets it, too, to interrupt the program
  // once that goes on (guest/arch/trap_stubs.S).
  [[nodiscard]] bool set_alarm_ns(std::uint64_t deadline) override {
    if (deadline == alarm_ns_) {
      return false;
    }
    alarm_ns_ = deadline;
    arch::set_alarm(deadline == never ? 0 : kernel_.clock().tsc_at(deadline));
    return true;
  }
  [[nodiscard]] linux::SignalSet take_signals() override {
    if (!arch::signal_is_sent()) {
      return 0;
    }
    return std::atomic_ref(arch::vcpu_page().signals_sent).exchange(0, std::memory_order_acquire);
  }
  void set_handled_signals(linux::SignalSet signals) override {
    std::atomic_ref(arch::vcpu_page().signals_handled).store(signals, std::memory_order_relaxed);
  }
  void set_thread_pointer(std::uint64_t address) override { arch::set_thread_pointer(address); }
  [[nodiscard]] std::uint64_t ram_bytes() const override { return kernel_.ram_bytes(); }
  [[nodiscard]] unsigned vcpus() const override { return kernel_.boot().vcpus; }
  [[noreturn]] void exit(std::uint8_t status) override {
    kernel_.settle();
    const std::uint64_t last_free_ns = kernel_.pages().last_buddy_free_ns();
    hypercall::workload_end(kernel_.now_ns() - last_free_ns);
    console_flush();
    hypercall::exit(status);
  }

 private:
  Kernel& kernel_;
  std::uint64_t alarm_ns_ = never;
};

} // namespace guest
