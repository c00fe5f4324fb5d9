// SPDX-License-Identifier: MIT
// Owners of the three kinds of KVM descriptor, each with the few checked calls that the machine
// needs. Documentation/virt/kvm/api.rst of the Linux kernel describes every call by its number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <sys/ioctl.h>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/kvm/kvm_api.hpp"

namespace vmm {

// An ioctl whose argument's size is checked against the ioctl's number at compile time.
// Returns the ioctl's result; -1 with errno set on failure.
template <unsigned long Command, typename Argument>
[[nodiscard]] int checked_ioctl(const UniqueFd& fd, Argument* argument) {
  static_assert(sizeof(Argument) == _IOC_SIZE(Command), "argument does not fit this ioctl");
  return ::ioctl(fd.get(), Command, argument);
}

// The shared page between kernel and vCPU thread, unmapped on destruction.
class RunPage {
 public:
  RunPage() = default;
  RunPage(void* address, std::size_t bytes) : address_(address), bytes_(bytes) {}
  RunPage(RunPage&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), bytes_(other.bytes_) {}
  RunPage& operator=(RunPage&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  RunPage(const RunPage&) = delete;
  RunPage& operator=(const RunPage&) = delete;
  ~RunPage();

  [[nodiscard]] kvm_run& run() const { return *static_cast<kvm_run*>(address_); }
  // Bytes of the page's data area at `offset` (for KVM_EXIT_IO); empty when out of bounds.
  [[nodiscard]] std::span<std::byte> data(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  void* address_ = nullptr;
  std::size_t bytes_ = 0;
};

class Vcpu {
 public:
  Vcpu(UniqueFd fd, RunPage page) : fd_(std::move(fd)), page_(std::move(page)) {}

  // KVM_RUN. Returns 0, or the errno of the failed call (EINTR when kicked).
  [[nodiscard]] int run() const;
  // Makes run() return EINTR at once, also when it is only about to be called. Any thread; follow
  // it with a signal to the thread that may be inside.
  void request_exit() const;
  [[nodiscard]] kvm_run& state() const { return page_.run(); }
  [[nodiscard]] const RunPage& page() const { return page_; }

  [[nodiscard]] Result<kvm_regs> registers() const;
  [[nodiscard]] Result<kvm_sregs> system_registers() const;
  [[nodiscard]] Result<void> set_registers(const kvm_regs& registers) const;
  [[nodiscard]] Result<void> set_system_registers(const kvm_sregs& registers) const;
  // Whether it waits for an interrupt, in KVM, that is: with an interrupt controller. False where
  // KVM does not tell.
  [[nodiscard]] bool is_halted() const;
  // x87 and SSE state.
  [[nodiscard]] Result<kvm_fpu> fpu_registers() const;
  [[nodiscard]] Result<void> set_fpu_registers(const kvm_fpu& registers) const;
  // SYSCALL enters at `entry`, with the GDT of shared/layout.h; vector registers up to AVX-512 are
  // enabled as far as KVM has them. For a guest that runs programs, after its system registers.
  [[nodiscard]] Result<void> set_up_programs(abi::Gpa entry) const;
  // TSC frequency in kHz.
  [[nodiscard]] Result<std::uint32_t> tsc_khz() const;
  // Puts the local APIC into x2APIC mode, enabled, its timer in TSC-deadline mode on
  // `timer_vector`, and the vCPU into the runnable state. Needs Vm::create_interrupt_controller;
  // before the system registers are set otherwise.
  [[nodiscard]] Result<void> set_up_interrupts(std::uint8_t timer_vector,
                                               std::uint8_t spurious_vector) const;
  // Gives the guest every CPUID bit that KVM supports.
  [[nodiscard]] Result<void> set_cpuid(const kvm_cpuid2& cpuid) const;

 private:
  UniqueFd fd_;
  RunPage page_;
};

class Vm {
 public:
  Vm(UniqueFd fd, std::size_t run_page_bytes)
      : fd_(std::move(fd)), run_page_bytes_(run_page_bytes) {}

  enum class Access { read_write, read_only };
  // Maps `memory` (page aligned, page multiple) at `gpa` as memory slot `slot`. The memory must
  // outlive the Vm. Cost is in proportion to size under shadow paging: 0.5 ms a GiB.
  [[nodiscard]] Result<void> map(std::uint32_t slot, abi::Gpa gpa,
                                 std::span<const std::byte> memory, Access access) const;
  // A local APIC per vCPU in the kernel, no other interrupt hardware. Before the first vCPU.
  [[nodiscard]] Result<void> create_interrupt_controller() const;
  // Routes interrupt line n to `vector` of vCPU n, for n below `vcpus`.
  [[nodiscard]] Result<void> route_lines_to_vcpus(unsigned vcpus, std::uint8_t vector) const;
  // A write to `event` raises line `line`.
  [[nodiscard]] Result<void> bind_interrupt(int event, std::uint32_t line) const;
  // A 32-bit `out` of `value` to `port` signals `event` and does not leave the kernel.
  [[nodiscard]] Result<void> bind_doorbell(int event, std::uint16_t port,
                                           std::uint32_t value) const;
  [[nodiscard]] Result<Vcpu> create_vcpu(std::uint32_t index) const;
  // The one hypercall that KVM can hand out (shared/doorbell.hpp) makes KVM_RUN return with
  // KVM_EXIT_HYPERCALL. That the kernel agrees does not prove that calls arrive: ProbeVm does.
  [[nodiscard]] Result<void> let_out_hypercalls() const;
  [[nodiscard]] const UniqueFd& fd() const { return fd_; }

 private:
  UniqueFd fd_;
  std::size_t run_page_bytes_;
};

class Kvm {
 public:
  // Opens the KVM device. The error says why it is not usable (absent, no permission, module not
  // loaded) and what to do.
  [[nodiscard]] static Result<Kvm> open(const std::string& path);

  [[nodiscard]] Result<Vm> create_vm() const;
  // KVM_CHECK_EXTENSION; 0 when absent.
  [[nodiscard]] int extension(long capability) const;
  // Whether interrupts can be offered: split irqchip, irqfd, TSC-deadline timer.
  [[nodiscard]] bool has_interrupts() const;
  // Gives the vCPU what KVM_GET_SUPPORTED_CPUID says, and the TSC-deadline timer, which that leaves
  // out though KVM emulates it (api.rst, 4.46).
  [[nodiscard]] Result<void> apply_supported_cpuid(const Vcpu& vcpu) const;

 private:
  explicit Kvm(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

} // namespace vmm
