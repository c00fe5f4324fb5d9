// SPDX-License-Identifier: MIT
// Hypercalls: a 32-bit `out` to EBB_PORT_HYPERCALL. Number, arguments and result travel in the
// vCPU page, so the host never has to read registers (a vCPU ioctl costs 5 to 7 us on kvm_pvm).
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"
#include "shared/layout.h"

namespace abi {

enum class Hypercall : std::uint64_t {
  // Payload: GuestHello. Result ok, or bad_argument when the host cannot work with it.
  negotiate = 1,
  // args: gpa, bytes (at most console_write_bytes). Writes text to the console.
  console_write = 2,
  // args: time to wait in ns. Returns after that time, or earlier.
  wait = 3,
  // args: first byte to map, a multiple of plug_bytes and equal to the end of what is mapped.
  // Maps one more plug unit. Result no_memory when the host cannot.
  plug = 4,
  // args: exit status; above 255 (all negative ones are) means 255. Does not return.
  exit = 5,
  // Payload: PanicRecord. Does not return.
  panic = 6,
  // The workload is about to start: ends the boot time, starts the measured interval. Once; later
  // ones are answered bad_argument.
  workload_begin = 7,
  // args: ns since the last free. The workload is over and every answer is in: ends the measured
  // interval. Returns when the host has watched residency settle. Once, after workload_begin.
  workload_end = 8,
  // Since 1.1, with feature_smp: starts vCPUs 1... at the image's entry point, once. Result
  // bad_argument when they run already.
  start_vcpus = 9,
  // Since 1.1, with feature_prefault; args: gpa, bytes (whole pages, at most prefault_bytes). Makes
  // plugged RAM resident in one go that would be faulted in page by page. Advice: with result
  // no_memory nothing is lost.
  prefault = 10,
  // Since 1.2, with feature_files. Returns when the file call in this vCPU's mailbox
  // (shared/file_call.hpp) has been answered. Result unknown where no program is run.
  file = 11,
  // Since 1.2, with feature_sockets. The same for the socket call (shared/socket_call.hpp).
  socket = 12,
};

enum class Status : std::uint64_t {
  ok = 0,
  bad_argument = 1,
  no_memory = 2,
  unknown = 3, // no such hypercall on this host
};

inline constexpr std::uint64_t console_write_bytes = std::uint64_t{64} << 10;
inline constexpr std::uint64_t prefault_bytes = std::uint64_t{4} << 20;
inline constexpr std::size_t panic_message_bytes = 256;
inline constexpr std::size_t panic_frames = 16;

// Registers at the trap; of a panic by software, where it was called (but for RDI).
struct PanicRegisters {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0;
  std::uint64_t rsi = 0, rdi = 0, rbp = 0, rsp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0;
  std::uint64_t r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0, rflags = 0, cs = 0, ss = 0;
};
static_assert(offsetof(PanicRegisters, rsi) == 32);
static_assert(offsetof(PanicRegisters, r8) == 64);
static_assert(offsetof(PanicRegisters, rip) == 128);
static_assert(sizeof(PanicRegisters) == 160);

// Payload of the panic hypercall; the host prints it with symbols.
struct PanicRecord {
  std::uint64_t vector = 0; // exception vector, or panic_by_software
  std::uint64_t error_code = 0;
  std::uint64_t fault_address = 0; // CR2 for a page fault
  std::uint64_t rip = 0;           // of the trap; 0 for a panic by software
  std::uint64_t rsp = 0;
  std::uint64_t frame_count = 0;           // used entries of frames
  std::uint64_t frames[panic_frames] = {}; // return addresses, innermost first
  char message[panic_message_bytes] = {};  // NUL terminated
  // Since 1.2. Of registers, that the guest filled in: all or, as an older guest leaves it, 0.
  std::uint64_t register_bytes = 0;
  PanicRegisters registers;
};
inline constexpr std::uint64_t panic_by_software = 0xffff;
static_assert(offsetof(PanicRecord, rip) == 24);
static_assert(offsetof(PanicRecord, frames) == 48);
static_assert(offsetof(PanicRecord, message) == 176);
static_assert(offsetof(PanicRecord, register_bytes) == 432);
static_assert(sizeof(PanicRecord) == 600);

// One page per vCPU; GS base points at it.
struct VcpuPage {
  std::uint64_t self_gpa = 0;      // host-written: address of this page
  std::uint32_t vcpu = 0;          // host-written: index of this vCPU
  std::uint32_t wake_pending = 0;  // guest: set by the interrupt stub, cleared by the halt gate
  std::uint64_t guest_private = 0; // the guest's own per-vCPU pointer
  std::uint64_t stack_low_gpa = 0; // host-written: stack is [stack_low_gpa, stack_high_gpa)
  std::uint64_t stack_high_gpa = 0;
  // Streams that were watched (FileOperation::watch) and are ready, since 1.2 with feature_files,
  // in vCPU 0's page; stream n is bit n.
  std::uint64_t streams_ready = 0; // host: sets bits, then interrupts; guest: clears them
  std::uint64_t reserved2[2] = {};
  std::uint64_t number = 0; // Hypercall
  std::uint64_t args[4] = {};
  std::uint64_t result = 0; // Status
  // Signals for the program, since 1.2 with feature_files, in vCPU 0's page; signal n is bit n - 1.
  std::uint64_t signals_sent = 0;    // host: sets bits, then interrupts; guest: takes them
  std::uint64_t signals_handled = 0; // guest-written: what the program does not want to be ended by
  alignas(64) std::uint8_t payload[1024] = {};
};
static_assert(offsetof(VcpuPage, vcpu) == 8);
static_assert(offsetof(VcpuPage, wake_pending) == EBB_VCPU_WAKE_PENDING);
static_assert(offsetof(VcpuPage, guest_private) == 16);
static_assert(offsetof(VcpuPage, stack_low_gpa) == 24);
static_assert(offsetof(VcpuPage, streams_ready) == EBB_VCPU_STREAMS_READY);
static_assert(offsetof(VcpuPage, number) == 64);
static_assert(offsetof(VcpuPage, args) == 72);
static_assert(offsetof(VcpuPage, result) == 104);
static_assert(offsetof(VcpuPage, signals_sent) == EBB_VCPU_SIGNALS_SENT);
static_assert(offsetof(VcpuPage, payload) == 128);
static_assert(sizeof(VcpuPage) == 1152);
static_assert(EBB_VCPU_OWN < page_bytes);

} // namespace abi
