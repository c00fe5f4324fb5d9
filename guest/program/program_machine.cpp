// SPDX-License-Identifier: MIT
#include "guest/program/program_machine.hpp"

#include <atomic>

#include "guest/arch/program.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/print.hpp"

namespace guest {

namespace {

abi::VcpuPage& page_of_host() {
  return arch::vcpu_page_of(0);
}

} // namespace

ProgramMachine::ProgramMachine(Kernel& kernel)
    : kernel_(kernel), lock_(*this, kernel.boot().vcpus) {
  alarm_ns_.fill(never);
}

// ---- vCPUs -------------------------------------------------------------------------------------

linux::KernelLock::Entry ProgramMachine::enter_kernel() {
  const unsigned vcpu = arch::vcpu_page().vcpu;
  const auto entry = lock_.enter(vcpu, kernel_.backoff());
  vcpu_ = vcpu;
  return entry;
}

void ProgramMachine::call_again() {
  std::atomic_ref(arch::program_is_called(vcpu_)).store(1, std::memory_order_relaxed);
  arch::set_timer(arch::rdtsc() + EBB_INTERRUPT_AGAIN_TICKS);
}

bool ProgramMachine::is_in_kernel() const {
  return lock_.is_held_by(arch::vcpu_page().vcpu);
}

std::uint32_t& ProgramMachine::called(unsigned vcpu) {
  return arch::program_is_called(vcpu);
}

void ProgramMachine::interrupt(unsigned vcpu) {
  arch::wake_vcpu(vcpu);
}

// The way back out of ring 0 makes it forget code, too (SDM vol. 3, 8.1.3).
void ProgramMachine::forget(unsigned /*vcpu*/) {
  arch::flush_translations();
}

// ---- time --------------------------------------------------------------------------------------

bool ProgramMachine::is_awaited(unsigned vcpu) {
  const volatile abi::VcpuPage& page = page_of_host();
  return vcpu == first_vcpu ? arch::is_something_sent(page) : page.streams_ready != 0;
}

bool ProgramMachine::sleep_until_ns(std::uint64_t deadline) {
  const unsigned vcpu = vcpu_;
  if (vcpus() == 1) {
    while (!is_awaited(vcpu)) {
      kernel_.doze_until_ns(deadline); // also a sleep of no length is a chance to report
      if (kernel_.now_ns() >= deadline) {
        break;
      }
    }
  } else {
    lock_.rest(vcpu);
    rest_until_ns(vcpu, deadline);
    static_cast<void>(enter_kernel());
  }
  const bool is_ready = take_ready_files();
  return is_ready || is_awaited(vcpu);
}

bool ProgramMachine::is_over(unsigned vcpu, std::uint64_t deadline) {
  return lock_.is_called(vcpu) || is_awaited(vcpu) || kernel_.now_ns() >= deadline;
}

// To be called out of a halt takes longer than the halt, if that was short the last time.
void ProgramMachine::rest_until_ns(unsigned vcpu, std::uint64_t deadline) {
  const std::uint64_t begin_ns = kernel_.now_ns();
  if (last_rest_ns_[vcpu] < mm::Backoff::spin_ns) {
    for (mm::Backoff look = kernel_.backoff(); !look.now_is_time_to_nap(); look()) {
      if (is_over(vcpu, deadline)) {
        last_rest_ns_[vcpu] = kernel_.now_ns() - begin_ns;
        return;
      }
    }
  }
  do {
    if (lock_.may_halt(vcpu) && !is_awaited(vcpu)) {
      kernel_.doze_until_ns(deadline);
    }
    lock_.is_awake(vcpu);
  } while (!is_over(vcpu, deadline));
  last_rest_ns_[vcpu] = kernel_.now_ns() - begin_ns;
}

// There is one timer. What comes while the kernel runs sets it, too, to interrupt the program once
// that goes on (guest/arch/trap_stubs.S).
bool ProgramMachine::set_alarm_ns(std::uint64_t deadline) {
  std::uint64_t& alarm_ns = alarm_ns_[vcpu_];
  if (deadline == alarm_ns) {
    return false;
  }
  alarm_ns = deadline;
  arch::set_alarm(deadline == never ? 0 : kernel_.clock().tsc_at(deadline));
  return true;
}

// ---- from outside ------------------------------------------------------------------------------

bool ProgramMachine::take_ready_files() {
  const std::atomic_ref ready(page_of_host().streams_ready);
  return ready.load(std::memory_order_relaxed) != 0 &&
         ready.exchange(0, std::memory_order_acquire) != 0;
}

linux::SignalSet ProgramMachine::take_signals() {
  const std::atomic_ref sent(page_of_host().signals_sent);
  return sent.load(std::memory_order_relaxed) == 0 ? 0
                                                   : sent.exchange(0, std::memory_order_acquire);
}

void ProgramMachine::set_handled_signals(linux::SignalSet signals) {
  std::atomic_ref(page_of_host().signals_handled).store(signals, std::memory_order_relaxed);
}

void ProgramMachine::set_thread_pointer(std::uint64_t address) {
  arch::set_thread_pointer(address);
}

void ProgramMachine::exit(std::uint8_t status) {
  stop_others();
  kernel_.settle();
  const std::uint64_t last_free_ns = kernel_.pages().last_buddy_free_ns();
  hypercall::workload_end(kernel_.now_ns() - last_free_ns);
  console_flush();
  hypercall::exit(status);
}

} // namespace guest
