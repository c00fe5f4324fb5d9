// SPDX-License-Identifier: MIT
#include "guest/program/run_program.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <string_view>

#include "guest/arch/cpu.hpp"
#include "guest/arch/program.hpp"
#include "guest/linux/page_frames.hpp"
#include "guest/linux/process.hpp"
#include "guest/program/file_mailbox.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/panic.hpp"
#include "guest/runtime/print.hpp"

namespace guest {

namespace {

constexpr std::uint8_t status_not_found = 127;
constexpr std::uint8_t status_not_runnable = 126;
// The break begins there, at least, or at half of RAM: programs that are linked to low addresses
// lie below, and mappings are taken from below, too, so that the break finds room to grow.
constexpr std::uint64_t break_at_most = std::uint64_t{1} << 30;

class FrameBytes final : public linux::FrameContent {
 public:
  void zero(abi::Pfn first, std::uint64_t count) override {
    std::memset(at(first), 0, count * abi::page_bytes);
  }
  void copy(abi::Pfn to, abi::Pfn from, std::uint64_t count) override {
    std::memcpy(at(to), at(from), count * abi::page_bytes);
  }

 private:
  [[nodiscard]] static void* at(abi::Pfn frame) {
    return arch::pointer_to<void>(abi::to_gpa(frame));
  }
};

class GuestMachine final : public linux::Machine {
 public:
  explicit GuestMachine(Kernel& kernel) : kernel_(kernel) {}

  [[nodiscard]] std::uint64_t now_ns() override { return kernel_.now_ns(); }
  void sleep_until_ns(std::uint64_t deadline) override { kernel_.sleep_until_ns(deadline); }
  void set_thread_pointer(std::uint64_t address) override { arch::set_thread_pointer(address); }
  [[nodiscard]] std::uint64_t ram_bytes() const override { return kernel_.ram_bytes(); }
  [[nodiscard]] std::uint64_t free_bytes() override {
    const mm::Buddy& buddy = kernel_.pages().buddy();
    const std::uint64_t in_use = (buddy.frontier() - buddy.tags().first()) - buddy.fresh_frames() -
                                 buddy.answered_frames() - buddy.isolated_frames();
    return kernel_.ram_bytes() - in_use * abi::page_bytes;
  }
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
};

// All that runs a program; made once, for calls to find it.
struct Running {
  Running(Kernel& kernel, abi::ProgramStart& start, std::string_view strings)
      : frames(kernel.pages(), bytes, vcpu), files(kernel, start.left), machine(kernel),
        process(start, strings, frames, files, machine, arch::enter_kernel, arch::vdso_image) {}

  static constexpr unsigned vcpu = 0; // programs have one
  FrameBytes bytes;
  linux::PageFrames frames;
  FileMailbox files;
  GuestMachine machine;
  linux::Process process;
  arch::ExtendedFeatures extended; // once a signal has needed them
};

// The one program of this guest.
constinit Running* running = nullptr;

// Vectors as signals of Linux: their default is the program's end.
std::uint64_t signal_of(std::uint64_t vector) {
  switch (vector) {
  case 0:  // divide error
  case 16: // x87
  case 19: // SIMD
    return SIGFPE;
  case 1:
  case 3:
    return SIGTRAP;
  case 6:
    return SIGILL;
  case 17:
    return SIGBUS;
  default:
    return SIGSEGV;
  }
}

// As siginfo_t has it.
std::int32_t cause_of(const arch::TrapFrame& frame) {
  switch (frame.vector) {
  case 0:
    return FPE_INTDIV;
  case 6:
    return ILL_ILLOPN;
  case 14:
    return (frame.error_code & 1) != 0 ? SEGV_ACCERR : SEGV_MAPERR;
  case 16:
  case 19:
    return FPE_FLTINV;
  case 17:
    return BUS_ADRALN;
  default:
    return SI_KERNEL;
  }
}

// Registers have the same order at both sides.
void go_on(arch::TrapFrame& frame, std::byte* extended_state) {
  static_assert(sizeof(linux::Registers) == sizeof frame);
  if (running->extended.bytes == 0) {
    running->extended = arch::extended_features();
    if (running->extended.bytes > EBB_EXTENDED_STATE_BYTES) {
      panic("a state of {} bytes, more than there is room for", running->extended.bytes);
    }
  }
  auto registers = std::bit_cast<linux::Registers>(frame);
  running->process.go_on(registers, {.bytes = {extended_state, running->extended.bytes},
                                     .features = running->extended.mask});
  frame = std::bit_cast<arch::TrapFrame>(registers);
}

[[noreturn]] void end_by_trap(const arch::TrapFrame& frame) {
  const std::uint64_t signal = signal_of(frame.vector);
  print("{}: {} at {:#x}, address {:#x}: signal {}\n", running->process.program_path(),
        arch::vector_name(frame.vector), frame.rip, frame.vector == 14 ? frame.cr2 : 0, signal);
  running->machine.exit(static_cast<std::uint8_t>(128 + signal));
}

void handle_trap(arch::TrapFrame& frame, std::byte* extended_state) {
  constexpr std::uint64_t illegal_instruction = 6;
  if (frame.vector == illegal_instruction) {
    if (const auto moved = running->process.resume_site(frame.rip)) {
      frame.rip = *moved;
      return;
    }
  }
  const std::int32_t cause = cause_of(frame);
  std::uint64_t address = cause == SI_KERNEL ? 0 : frame.rip;
  if (frame.vector == 14) {
    address = frame.cr2;
  }
  if (!running->process.take_fault(
          {.signal = signal_of(frame.vector), .code = cause, .address = address})) {
    end_by_trap(frame);
  }
  go_on(frame, extended_state);
}

// As a shell says it.
std::string_view reason(int error) {
  switch (error) {
  case ENOENT:
    return "no such file";
  case EACCES:
    return "permission denied";
  case ENOEXEC:
    return "not a program that this machine can run (no 64-bit x86 ELF file, or a damaged one)";
  case ELIBBAD:
    return "its dynamic linker wants a dynamic linker itself";
  case ENOMEM:
    return "not enough memory where it must lie; try a larger --mem";
  case E2BIG:
    return "too many or too long arguments";
  case ENOTDIR:
    return "a part of the path is no directory";
  case ELOOP:
    return "too many symbolic links";
  default:
    return "cannot be loaded";
  }
}

} // namespace

void run_program(Kernel& kernel, abi::ProgramStart& start) {
  const auto* const text = reinterpret_cast<const char*>(&start + 1);
  const VdsoClock clock = kernel.clock().for_vdso(start.realtime_ns);
  std::memcpy(arch::vdso_image + EBB_VDSO_CLOCK, &clock, sizeof clock);
  running = new Running(kernel, start, {text, start.string_bytes});
  hypercall::workload_begin();
  const abi::BootInfo& boot = kernel.boot();
  const std::uint64_t break_start = abi::align_up(
      std::min(boot.free_start_gpa + kernel.ram_bytes() / 2, break_at_most), abi::huge_page_bytes);
  const auto entry = running->process.load(break_start);
  if (!entry) {
    const std::string_view program = running->process.program_path();
    const std::string_view loaded = running->process.loaded_path();
    // As a shell names the interpreter of a script, or the dynamic linker.
    if (loaded != program) {
      print("{}: needs {}: {}\n", program, loaded, reason(entry.error()));
    } else {
      print("{}: {}\n", program, reason(entry.error()));
    }
    running->machine.exit(entry.error() == ENOENT ? status_not_found : status_not_runnable);
  }
  arch::program_trap_handler() = handle_trap;
  arch::program_enter(entry->instruction, entry->stack);
}

// Called by guest/arch/program_entry.S.
extern "C" std::int64_t program_call(const arch::ProgramCall* call) {
  linux::Call request{.number = call->number};
  std::copy(std::begin(call->args), std::end(call->args), request.args.begin());
  const std::int64_t answer = running->process.answer(request);
  if (running->process.is_diverted()) {
    arch::divert_program();
  }
  return answer;
}
// Where a diverted call goes on.
extern "C" void program_diverted(arch::TrapFrame* frame, std::byte* extended_state) {
  go_on(*frame, extended_state);
}
// The same for a call that came by a SYSCALL instruction.
extern "C" std::int64_t program_call_by_instruction(arch::ProgramCall* call) {
  const std::int64_t answer = program_call(call);
  call->rip = running->process.patch_site(call->rip);
  return answer;
}

void list_calls() {
  for (const linux::SupportedCall& call : linux::supported_calls()) {
    print("{:<20} {}\n", call.name, call.how);
  }
}

} // namespace guest
