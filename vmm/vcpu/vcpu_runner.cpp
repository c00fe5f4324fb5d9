// SPDX-License-Identifier: MIT
#include "vmm/vcpu/vcpu_runner.hpp"

#include <poll.h>

#include <cerrno>
#include <cstring>

#include <fmt/core.h>

#include "shared/doorbell.hpp"
#include "shared/layout.h"
#include "vmm/vcpu/crash_report.hpp"

namespace vmm {
namespace {

// KVM_EXIT_MEMORY_FAULT of Linux 6.8, which older headers lack.
constexpr std::uint32_t exit_memory_fault = 39;
struct MemoryFault {
  std::uint64_t flags, gpa, size;
};

// KVM makes a thread of its own in the process at the first KVM_RUN and refuses to run as long as
// it cannot. That may pass; it is waited for, but not without end.
constexpr unsigned most_refusals = 1000;
constexpr int pause_ms = 1;

std::string thread_limit_text() {
  return errno_text(EAGAIN) + "; KVM needs a thread of its own: raise the limit (ulimit -u)";
}

} // namespace

void VcpuRunner::run() {
  while (!around_.end.ended()) {
    const int error = enter_guest();
    let_look(VcpuTurn::guest);
    if (error == EINTR) {
      continue; // kicked, held meanwhile, or a signal that is none of ours
    }
    if (error == EAGAIN && ++refusals_ < most_refusals) {
      static_cast<void>(::poll(nullptr, 0, pause_ms));
      continue;
    }
    refusals_ = 0;
    exits_.total.add();
    if (error == EFAULT) {
      crash(describe_forbidden_access());
    } else if (error != 0) {
      around_.end.end({EndKind::host_failed, 0,
                       fmt::format("KVM_RUN of vCPU {}: {}", index_,
                                   error == EAGAIN ? thread_limit_text() : errno_text(error))});
    } else {
      handle_exit();
      let_look(VcpuTurn::host);
    }
  }
}

// KVM_RUN; EINTR as well when the vCPU was held instead, or the end came meanwhile.
int VcpuRunner::enter_guest() {
  if (around_.hook == nullptr) [[likely]] {
    return vcpu_.run();
  }
  bool may_enter = false;
  {
    const Held held(*this);
    may_enter = around_.hook->before_entry(index_, vcpu_.state().immediate_exit);
  }
  if (!may_enter) {
    return EINTR;
  }
  // The hook may have taken back a request to stop.
  const int error = around_.end.ended() ? EINTR : vcpu_.run();
  around_.hook->after_exit(index_);
  return error;
}

void VcpuRunner::handle_exit() {
  const kvm_run& run = vcpu_.state();
  if (run.exit_reason == KVM_EXIT_INTR || (run.exit_reason == KVM_EXIT_IO && handle_output()) ||
      (run.exit_reason == KVM_EXIT_HYPERCALL && handle_doorbell_call())) {
    return;
  }
  crash(describe_exit(run));
}

// A 32-bit output to one of our ports; false for any other I/O.
bool VcpuRunner::handle_output() {
  const auto& io = vcpu_.state().io;
  if (around_.hook != nullptr && io.port == EBB_PORT_DEBUG && io.direction == KVM_EXIT_IO_OUT) {
    const Held held(*this);
    return around_.hook->on_debug_port(index_);
  }
  const std::span<const std::byte> data = vcpu_.page().data(io.data_offset, sizeof(std::uint32_t));
  if (io.direction != KVM_EXIT_IO_OUT || io.size != sizeof(std::uint32_t) || io.count != 1 ||
      data.empty()) {
    return false;
  }
  std::uint32_t value = 0;
  std::memcpy(&value, data.data(), sizeof value);
  if (io.port == EBB_PORT_HYPERCALL) {
    exits_.hypercalls.add();
    if (around_.hook != nullptr && around_.hypercalls.is_panic(index_)) {
      const Held held(*this);
      around_.hook->before_end(index_, FatalEnd::panic);
    }
    around_.hypercalls.dispatch(index_);
  } else if (io.port == EBB_PORT_DOORBELL) {
    ring_doorbell(value);
  } else {
    return false;
  }
  if (around_.hook != nullptr) {
    const Held held(*this);
    around_.hook->after_output(index_);
  }
  return true;
}

// A doorbell rung by VMCALL or VMMCALL, by a guest that said it would; false for any other
// hypercall.
bool VcpuRunner::handle_doorbell_call() {
  auto& hypercall = vcpu_.state().hypercall;
  const abi::DoorbellCall call{hypercall.args[0], hypercall.args[1], hypercall.args[2]};
  const std::optional<std::uint32_t> channel = call.channel();
  if (hypercall.nr != EBB_DOORBELL_CALL || !channel ||
      !around_.hypercalls.accepted(abi::feature_vmcall)) {
    return false;
  }
  hypercall.ret = 0;
  exits_.vmcalls.add();
  ring_doorbell(*channel);
  return true;
}

void VcpuRunner::ring_doorbell(std::uint32_t channel) {
  exits_.doorbells.add();
  // In the other modes the doorbell is passed on, and seen where it arrives.
  if (around_.observer != nullptr && around_.hints.mode() == HostMode::sync) [[unlikely]] {
    around_.observer->on_doorbell(index_, channel);
  }
  if (const auto violation = around_.hints.serve(channel)) {
    crash("check of hints: " + violation->describe());
  }
}

std::string VcpuRunner::describe_forbidden_access() const {
  if (around_.oracle == nullptr) {
    return "access that the host's mapping of guest memory forbids (EFAULT)";
  }
  const kvm_run& run = vcpu_.state();
  std::optional<abi::Gpa> gpa;
  if (run.exit_reason == exit_memory_fault) {
    MemoryFault fault{};
    std::memcpy(&fault, &run.hw, sizeof fault); // the first of the union
    gpa = abi::Gpa{fault.gpa};
  }
  return around_.oracle->describe_access(gpa);
}

void VcpuRunner::crash(const std::string& what) {
  if (around_.hook != nullptr) {
    const Held held(*this);
    around_.hook->before_end(index_, FatalEnd::crash);
  }
  around_.end.end({EndKind::crashed, 0,
                   fmt::format("guest crash on vCPU {}: {}\n{}", index_, what,
                               dump_registers(vcpu_, around_.symbols)),
                   index_});
}

} // namespace vmm
