// SPDX-License-Identifier: MIT
#include "guest/program/run_program.hpp"

#include <algorithm>
#include <atomic>
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
  void copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) override {
    std::memcpy(arch::pointer_to<void>({to}), arch::pointer_to<void>({from}), bytes);
  }
  void write(abi::Gpa to, std::span<const std::byte> from) override {
    std::memcpy(arch::pointer_to<void>(to), from.data(), from.size());
  }

 private:
  [[nodiscard]] static void* at(abi::Pfn frame) {
    return arch::pointer_to<void>(abi::to_gpa(frame));
  }
};

// Page tables out of the page allocator.
class TablePages final : public linux::TableStore {
 public:
  explicit TablePages(Kernel& kernel) : kernel_(kernel) {}

  [[nodiscard]] std::optional<abi::Gpa> allocate() override {
    void* const page = kernel_.allocate_zeroed_pages({0});
    return page == nullptr ? std::nullopt : std::optional(arch::address_of(page));
  }
  void release(abi::Gpa table) override { kernel_.free_pages(arch::pointer_to<void>(table), {0}); }
  [[nodiscard]] std::uint64_t* entries(abi::Gpa table) override {
    return arch::pointer_to<std::uint64_t>(table);
  }
  void flush() override { arch::flush_translations(); }

 private:
  Kernel& kernel_;
};

// What lies where: page 0 and what the host keeps before RAM, the hole with the guest's image and
// its own memory, the workload's input.
linux::AddressZones zones_of(const abi::BootInfo& boot) {
  constexpr std::uint64_t image_area_end = std::uint64_t{1} << 32;
  const std::uint64_t hole_start =
      boot.hole_start_gpa != 0 ? boot.hole_start_gpa : std::uint64_t{EBB_IMAGE_GPA};
  linux::AddressZones zones;
  zones.ram_end = boot.ram_bytes;
  zones.closed = {{{0, boot.free_start_gpa},
                   {std::min(hole_start, std::uint64_t{EBB_IMAGE_GPA}),
                    std::max(image_area_end, boot.hole_end_gpa)},
                   {boot.input_gpa, boot.input_gpa + boot.input_bytes}}};
  return zones;
}

class GuestMachine final : public linux::Machine {
 public:
  explicit GuestMachine(Kernel& kernel) : kernel_(kernel) {}

  [[nodiscard]] std::uint64_t now_ns() override { return kernel_.now_ns(); }
  void sleep_until_ns(std::uint64_t deadline) override {
    do {
      kernel_.doze_until_ns(deadline);
    } while (kernel_.now_ns() < deadline && !arch::signal_is_sent());
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
      : frames(kernel.pages(), bytes, vcpu), table_pages(kernel),
        tables(table_pages, {kernel.boot().page_table_gpa}), files(kernel, start.left),
        machine(kernel), process(start, strings, frames, tables, zones_of(kernel.boot()), files,
                                 machine, arch::enter_kernel, arch::vdso_image) {}

  static constexpr unsigned vcpu = 0; // programs have one
  FrameBytes bytes;
  linux::PageFrames frames;
  TablePages table_pages;
  linux::PageTables tables;
  FileMailbox files;
  GuestMachine machine;
  linux::Process process;
  arch::ExtendedFeatures extended; // once a signal has needed them
};

// What page faults are handled on.
struct alignas(16) FaultStack {
  std::byte bytes[std::size_t{32} << 10];
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
    return running->process.memory().has_any(abi::align_down(frame.cr2, abi::page_bytes),
                                             abi::page_bytes)
               ? SEGV_ACCERR
               : SEGV_MAPERR;
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

// As the kernel does it that has run out of memory: there is nothing else to take it from.
[[noreturn]] void end_without_memory(std::uint64_t address) {
  print("{}: out of memory: nothing is left to put behind address {:#x}; try a larger --mem\n",
        running->process.program_path(), address);
  running->machine.exit(128 + SIGKILL);
}

[[noreturn]] void end_by_trap(const arch::TrapFrame& frame) {
  const std::uint64_t signal = signal_of(frame.vector);
  print("{}: {} at {:#x}, address {:#x}: signal {}\n", running->process.program_path(),
        arch::vector_name(frame.vector), frame.rip, frame.vector == 14 ? frame.cr2 : 0, signal);
  running->machine.exit(static_cast<std::uint8_t>(128 + signal));
}

void handle_trap(arch::TrapFrame& frame, std::byte* extended_state) {
  if (frame.vector == EBB_WAKE_VECTOR) {
    running->process.receive_signals();
    go_on(frame, extended_state);
    return;
  }
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
  if (kernel.boot().page_table_gpa == 0) {
    panic("this host does not let programs have page tables");
  }
  running = new Running(kernel, start, {text, start.string_bytes});
  arch::take_page_faults(arch::address_of(new FaultStack).value + sizeof(FaultStack));
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

// Called by guest/arch/page_fault.S. Whether the instruction may be tried again.
extern "C" bool program_page_fault(const arch::TrapFrame* frame) {
  constexpr std::uint64_t error_write = 1U << 1;
  constexpr std::uint64_t error_fetch = 1U << 4;
  const linux::Access access = (frame->error_code & error_fetch) != 0   ? linux::Access::execute
                               : (frame->error_code & error_write) != 0 ? linux::Access::write
                                                                        : linux::Access::read;
  const linux::Resolution resolution = running->process.memory().resolve(frame->cr2, access);
  if (resolution == linux::Resolution::out_of_memory) {
    end_without_memory(frame->cr2);
  }
  return resolution == linux::Resolution::resolved;
}

// Called by guest/arch/program_entry.S.
extern "C" std::int64_t program_call(const arch::ProgramCall* call) {
  linux::Call request{.number = call->number};
  std::copy(std::begin(call->args), std::end(call->args), request.args.begin());
  const std::int64_t answer = running->process.answer(request);
  running->process.receive_signals();
  if (running->process.is_diverted() ||
      (arch::program_is_masked() && running->process.wants_interrupts())) {
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
