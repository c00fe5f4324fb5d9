// SPDX-License-Identifier: MIT
#include "guest/program/run_program.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "guest/arch/program.hpp"
#include "guest/linux/base/told_name.hpp"
#include "guest/linux/memory/page_frames.hpp"
#include "guest/linux/process/system.hpp"
#include "guest/linux/signals/fault.hpp"
#include "guest/linux/signals/hidden_fault.hpp"
#include "guest/program/host_calls.hpp"
#include "guest/program/program_contexts.hpp"
#include "guest/program/program_machine.hpp"
#include "guest/program/program_memory.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/panic.hpp"
#include "guest/runtime/print.hpp"

namespace guest {

namespace {

constexpr std::uint8_t status_usage = 2;
constexpr std::uint8_t status_not_found = 127;
constexpr std::uint8_t status_not_runnable = 126;
// The break begins there, at least, or at half of RAM: programs that are linked to low addresses
// lie below, and mappings are taken from below, too, so that the break finds room to grow.
constexpr std::uint64_t break_at_most = std::uint64_t{1} << 30;

// All that runs a program; made once, for calls to find it.
struct Running {
  Running(Kernel& kernel, abi::ProgramStart& start, std::string_view strings)
      : machine(kernel), frames(kernel.pages(), bytes, machine), table_pages(kernel, machine),
        tables(table_pages, {kernel.boot().page_table_gpa}), files(kernel, start.left),
        sockets(kernel, start.left), contexts(kernel),
        system({.start = start,
                .strings = strings,
                .frames = frames,
                .tables = tables,
                .zones = zones_of(kernel.boot()),
                .files = files,
                .sockets = sockets.start() ? &sockets : nullptr,
                .machine = machine,
                .contexts = contexts,
                .enter = arch::enter_kernel,
                .vdso = arch::vdso_image}) {
    const ProgramWindow window = program_window(kernel.boot());
    tables.detach(window.start, window.end); // RAM was there
  }

  ProgramMachine machine;
  FrameBytes bytes;
  linux::PageFrames frames;
  TablePages table_pages;
  linux::PageTables tables;
  FileMailbox files;
  SocketMailbox sockets;
  ProgramContexts contexts;
  linux::System system;
  // What came of the last page fault of a vCPU.
  std::array<linux::Resolution, EBB_MAX_VCPUS> last_fault{};
  arch::ExtendedFeatures extended; // once a signal has needed them
};

// What page faults are handled on.
struct alignas(16) FaultStack {
  std::byte bytes[std::size_t{32} << 10];
};

// The one program of this guest.
constinit Running* running = nullptr;

// Into the kernel, out of the program's code. The thread may be on another vCPU when it leaves.
linux::KernelLock::Entry enter_kernel() {
  const auto entry = running->machine.enter_kernel();
  running->system.note_vcpu();
  return entry;
}
void leave_kernel() {
  running->machine.leave_kernel();
}

// The order is the same at both sides.
linux::Registers registers_of(const arch::TrapFrame& frame) {
  return std::bit_cast<linux::Registers>(frame);
}

void go_on(arch::TrapFrame& frame, std::byte* extended_state) {
  if (running->extended.bytes == 0) {
    running->extended = arch::extended_features();
    if (running->extended.bytes > EBB_EXTENDED_STATE_BYTES) {
      panic("a state of {} bytes, more than there is room for", running->extended.bytes);
    }
  }
  linux::Registers registers = registers_of(frame);
  running->system.go_on(registers, {.bytes = {extended_state, running->extended.bytes},
                                    .features = running->extended.mask});
  frame = std::bit_cast<arch::TrapFrame>(registers);
}

linux::ToldName told_program() {
  return linux::ToldName(running->system.program_path());
}

// As the kernel does it that has run out of memory: there is nothing else to take it from.
[[noreturn]] void end_without_memory(std::uint64_t address) {
  print("{}: out of memory: nothing is left to put behind address {:#x}; try a larger --mem\n",
        told_program().view(), address);
  running->machine.exit(running->system.leave(128 + SIGKILL));
}

// A debugger stops here (tools/ebb-gdb.py).
[[noreturn, gnu::noinline]] void end_by_fault(const arch::TrapFrame& frame, std::uint64_t signal) {
  if (running->system.is_first_running()) { // of others their parents know what to say
    print("{}: {} at {:#x}, address {:#x}: signal {}\n", told_program().view(),
          arch::vector_name(frame.vector), frame.rip,
          frame.vector == linux::page_fault_vector ? frame.cr2 : 0, signal);
  }
  running->system.end_by_fault(signal);
}

// As much of an instruction there as the program can execute.
std::span<const std::uint8_t> code_at(std::uint64_t address) {
  const linux::AddressSpace& memory = running->system.memory();
  const auto* const code = arch::pointer_to<const std::uint8_t>({address});
  const std::uint64_t in_page = abi::page_bytes - address % abi::page_bytes;
  if (memory.allows(address, linux::longest_instruction, PROT_READ | PROT_EXEC)) {
    return {code, linux::longest_instruction};
  }
  return {code, memory.allows(address, 1, PROT_READ | PROT_EXEC)
                    ? std::min<std::uint64_t>(in_page, linux::longest_instruction)
                    : 0};
}

void take_trap(arch::TrapFrame& frame, std::byte* extended_state) {
  if (frame.vector == EBB_WAKE_VECTOR) {
    // Something else may have used the timer. It is set before the looks, or what comes behind them
    // would not interrupt the program again; but an alarm that has run out only if nobody has set
    // another.
    const std::uint64_t alarm = arch::alarm();
    const bool has_run_out = alarm <= arch::rdtsc();
    if (!has_run_out) {
      arch::arm_alarm();
    }
    running->system.catch_up();
    if (has_run_out && arch::alarm() == alarm) {
      arch::arm_alarm();
    }
    go_on(frame, extended_state);
    return;
  }
  if (frame.vector == linux::invalid_opcode_vector) {
    if (const auto moved = running->system.resume_site(frame.rip)) {
      frame.rip = *moved;
      return;
    }
    if (const auto hidden = linux::hidden_fault(registers_of(frame), code_at(frame.rip))) {
      frame.vector = hidden->vector;
      frame.error_code = hidden->error_code;
    }
  }
  frame.error_code = linux::told_error_code(registers_of(frame));
  const linux::SignalCause cause = linux::fault_cause(
      registers_of(frame), running->last_fault[running->machine.vcpu()],
      linux::FloatingPoint::of({extended_state, linux::ExtendedState::legacy_bytes}));
  if (!running->system.take_fault(cause)) {
    end_by_fault(frame, cause.signal);
  }
  go_on(frame, extended_state);
}

void handle_trap(arch::TrapFrame& frame, std::byte* extended_state) {
  static_cast<void>(enter_kernel());
  take_trap(frame, extended_state);
  leave_kernel();
}

// What each vCPU needs for the program's code to come back from there.
void take_program() {
  arch::take_page_faults(arch::address_of(new FaultStack).value + sizeof(FaultStack));
  arch::take_program_calls();
  arch::program_trap_handler() = handle_trap;
}

// The other vCPUs' way.
[[noreturn]] void run_threads() {
  static_cast<void>(enter_kernel());
  take_program();
  running->system.serve();
}

// As a shell says it.
std::string_view reason(int error) {
  switch (error) {
  case ENOENT:
    return "no such file";
  case EACCES:
    return "permission denied";
  case ENOEXEC:
  case EFAULT: // a page that should be cleared in part is not there
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
    return "too many symbolic links, or scripts that run scripts";
  case ENAMETOOLONG:
    return "the name is too long";
  case EIO:
    return "it cannot be read";
  default:
    return "cannot be loaded";
  }
}

} // namespace

namespace {

// The program's first instruction, in the end; or the guest ends.
linux::ProgramEntry load_program(Kernel& kernel, abi::ProgramStart& start) {
  const auto* const text = reinterpret_cast<const char*>(&start + 1);
  const VdsoClock clock = kernel.clock().for_vdso(start.realtime_ns);
  std::memcpy(arch::vdso_image + EBB_VDSO_CLOCK, &clock, sizeof clock);
  if (kernel.boot().page_table_gpa == 0) {
    panic("this host does not let programs have page tables");
  }
  running = new Running(kernel, start, {text, start.string_bytes});
  static_cast<void>(enter_kernel());
  take_program();
  if (const std::string_view missing = running->system.missing_directory(); !missing.empty()) {
    if (start.missing_directory == abi::MissingDirectory::fatal) {
      print("{}: --cwd {} is no folder in the guest; --bind shows it a folder of the host's\n",
            told_program().view(), linux::ToldName(missing).view());
      running->machine.exit(status_usage);
    }
    if (start.missing_directory == abi::MissingDirectory::told) {
      print("{}: {} is no folder in the guest, so it begins in /; --bind shows it a folder of the "
            "host's, --cwd names another\n",
            told_program().view(), linux::ToldName(missing).view());
    }
  }
  hypercall::workload_begin();
  const abi::BootInfo& boot = kernel.boot();
  const std::uint64_t break_start = abi::align_up(
      std::min(boot.free_start_gpa + kernel.ram_bytes() / 2, break_at_most), abi::huge_page_bytes);
  const auto entry = running->system.load(break_start);
  if (!entry) {
    const std::string_view program = running->system.program_path();
    const std::string_view loaded = running->system.loaded_path();
    // As a shell names the interpreter of a script, or the dynamic linker.
    if (loaded != program) {
      print("{}: needs {}: {}\n", told_program().view(), linux::ToldName(loaded).view(),
            reason(entry.error()));
    } else {
      print("{}: {}\n", told_program().view(), reason(entry.error()));
    }
    running->machine.exit(entry.error() == ENOENT ? status_not_found : status_not_runnable);
  }
  leave_kernel();
  return *entry;
}

} // namespace

// Called by guest/arch/page_fault.S. Whether the instruction may be tried again.
extern "C" bool program_page_fault(const arch::TrapFrame* frame) {
  constexpr std::uint64_t error_write = 1U << 1;
  constexpr std::uint64_t error_fetch = 1U << 4;
  const linux::Access access = (frame->error_code & error_fetch) != 0   ? linux::Access::execute
                               : (frame->error_code & error_write) != 0 ? linux::Access::write
                                                                        : linux::Access::read;
  const bool is_in_kernel = running->machine.is_in_kernel(); // on the program's behalf
  const bool was_called = !is_in_kernel && enter_kernel() == linux::KernelLock::Entry::called;
  linux::AddressSpace& memory = running->system.memory();
  const bool is_its_own_code =
      memory.has_any(abi::align_down(frame->rip, abi::page_bytes), abi::page_bytes);
  const linux::Resolution resolution = is_its_own_code
                                           ? memory.resolve(frame->cr2, access)
                                           : memory.resolve_for_guest(frame->cr2, access);
  running->last_fault[running->machine.vcpu()] = resolution;
  if (resolution == linux::Resolution::out_of_memory) {
    end_without_memory(frame->cr2);
  }
  if (was_called) {
    running->machine.call_again(); // the program goes on without a look
  }
  if (!is_in_kernel) {
    leave_kernel();
  }
  return resolution == linux::Resolution::resolved;
}

namespace {

// Behind a call.
void divert_if_wanted() {
  if (running->system.is_diverted() ||
      (arch::program_is_masked() && running->system.wants_interrupts())) {
    arch::divert_program();
  }
}

std::int64_t answer_call(const arch::ProgramCall& call) {
  linux::Call request{.number = call.number, .args = {}, .stack = call.rsp};
  std::copy(std::begin(call.args), std::end(call.args), request.args.begin());
  const std::int64_t answer = running->system.answer(request);
  running->system.catch_up();
  divert_if_wanted();
  return answer;
}

} // namespace

// Called by guest/arch/program_entry.S.
extern "C" std::int64_t program_call(const arch::ProgramCall* call) {
  static_cast<void>(enter_kernel());
  const std::int64_t answer = answer_call(*call);
  leave_kernel();
  return answer;
}
// The first that a new thread does, in the kernel; its answer is that of the call that has made it.
extern "C" std::int64_t program_thread(const arch::ProgramCall* /*call*/) {
  running->system.begin_thread();
  divert_if_wanted();
  leave_kernel();
  return 0;
}
// Where a diverted call goes on.
extern "C" void program_diverted(arch::TrapFrame* frame, std::byte* extended_state) {
  static_cast<void>(enter_kernel());
  go_on(*frame, extended_state);
  leave_kernel();
}
// The same for a call that came by a SYSCALL instruction.
extern "C" std::int64_t program_call_by_instruction(arch::ProgramCall* call) {
  static_cast<void>(enter_kernel());
  const std::int64_t answer = answer_call(*call);
  if (!running->system.is_followed()) {
    call->rip = running->system.patch_site(call->rip);
  }
  leave_kernel();
  return answer;
}

void run_program(Kernel& kernel, abi::ProgramStart& start) {
  linux::ProgramEntry entry = load_program(kernel, start);
  kernel.crew().run(
      [](void* context, unsigned vcpu) {
        if (vcpu == 0) {
          const auto& begin = *static_cast<const linux::ProgramEntry*>(context);
          arch::program_enter(begin.instruction, begin.stack);
        }
        run_threads();
      },
      &entry);
  std::unreachable();
}

void list_calls() {
  for (const linux::SupportedCall& call : linux::supported_calls()) {
    print("{:<20} {}\n", call.name, call.how);
  }
}

} // namespace guest
