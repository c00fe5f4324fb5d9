// SPDX-License-Identifier: MIT
#include "guest/runtime/hypercall.hpp"

#include <algorithm>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "shared/report_channel.hpp"

namespace guest::hypercall {

namespace {

abi::Status call(abi::Hypercall number, std::uint64_t arg0 = 0, std::uint64_t arg1 = 0) {
  abi::VcpuPage& page = arch::vcpu_page();
  page.number = static_cast<std::uint64_t>(number);
  page.args[0] = arg0;
  page.args[1] = arg1;
  arch::out32(EBB_PORT_HYPERCALL, page.vcpu);
  return static_cast<abi::Status>(page.result);
}

template <typename T> void set_payload(const T& payload) {
  static_assert(sizeof(T) <= sizeof(abi::VcpuPage::payload));
  std::memcpy(arch::vcpu_page().payload, &payload, sizeof(T));
}

// For calls that the host does not return from; should it, there is nothing sensible left to do.
[[noreturn]] void call_forever(abi::Hypercall number, std::uint64_t arg0) {
  for (;;) {
    call(number, arg0);
  }
}

} // namespace

abi::Status negotiate(const abi::GuestHello& hello) {
  set_payload(hello);
  return call(abi::Hypercall::negotiate);
}

void console_write(std::string_view text) {
  const std::size_t bytes = std::min<std::size_t>(text.size(), abi::console_write_bytes);
  call(abi::Hypercall::console_write, arch::address_of(text.data()).value, bytes);
}

void wait(std::uint64_t ns) {
  call(abi::Hypercall::wait, ns);
}

abi::Status plug(abi::Gpa next) {
  return call(abi::Hypercall::plug, next.value);
}

void prefault(abi::Gpa start, std::uint64_t bytes) {
  call(abi::Hypercall::prefault, start.value, bytes);
}

abi::Status start_vcpus() {
  return call(abi::Hypercall::start_vcpus);
}

void exit(std::uint64_t status) {
  call_forever(abi::Hypercall::exit, status);
}

void panic(const abi::PanicRecord& record) {
  set_payload(record);
  call_forever(abi::Hypercall::panic, 0);
}

void file() {
  call(abi::Hypercall::file);
}

void socket() {
  call(abi::Hypercall::socket);
}

void workload_begin() {
  call(abi::Hypercall::workload_begin);
}

void workload_end(std::uint64_t since_last_free_ns) {
  call(abi::Hypercall::workload_end, since_last_free_ns);
}

void ring_doorbell(std::uint32_t channel, abi::Doorbell how) {
  const abi::Gpa rings{EBB_CHANNEL_GPA + std::uint64_t{channel} * EBB_CHANNEL_BYTES};
  const auto call =
      abi::DoorbellCall::make(channel, arch::pointer_to<abi::ChannelRings>(rings)->submit_tail);
  switch (how) {
  case abi::Doorbell::vmcall:
    arch::doorbell_call(EBB_GATE_VMCALL, call);
    return;
  case abi::Doorbell::vmmcall:
    arch::doorbell_call(EBB_GATE_VMMCALL, call);
    return;
  case abi::Doorbell::port:
    break;
  }
  arch::out32(EBB_PORT_DOORBELL, channel);
}

} // namespace guest::hypercall
