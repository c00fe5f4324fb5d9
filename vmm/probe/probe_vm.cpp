// SPDX-License-Identifier: MIT
#include "vmm/probe/probe_vm.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>

#include "shared/image_header.hpp"
#include "shared/layout.h"
#include "vmm/base/clock.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/boot/boot_state.hpp"
#include "vmm/kvm/host_cpu.hpp"
#include "vmm/memory/guest_memory.hpp"

// vmm/probe/probe_code.S. Only their addresses mean something.
extern "C" {
extern const std::byte probe_code[];
extern const std::byte probe_code_end[];
extern const std::byte probe_ports[];
extern const std::byte probe_touch[];
extern const std::byte probe_calls[];
extern const std::byte probe_stubs[];
}

namespace vmm {
namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{16} << 20;
constexpr std::uint64_t touched_bytes = std::uint64_t{8} << 20;
constexpr std::uint64_t slow_rounds = 1000; // each leaves the kernel
constexpr std::uint64_t fast_rounds = 5000; // each stays in it
constexpr int kick_signal = SIGURG;

using Clock = std::chrono::steady_clock;

std::uint64_t gpa_of(const std::byte* symbol) {
  return EBB_LOW_IMAGE_GPA + static_cast<std::uint64_t>(symbol - probe_code);
}

abi::ImageHeader probe_image() {
  const auto bytes =
      abi::align_up(static_cast<std::uint64_t>(probe_code_end - probe_code), abi::page_bytes);
  abi::ImageHeader image;
  image.load_gpa = EBB_LOW_IMAGE_GPA;
  image.memory_bytes = bytes;
  image.trap_stubs_gpa = gpa_of(probe_stubs);
  image.segments[0] = {EBB_LOW_IMAGE_GPA, bytes, abi::segment_execute, 0};
  return image;
}

// A machine with one vCPU at the given entry point.
struct SmallMachine {
  static Result<SmallMachine> create(const Kvm& kvm, const std::byte* entry, std::uint64_t rounds,
                                     abi::Doorbell instruction,
                                     Backing backing = Backing::small_pages) {
    abi::ImageHeader image = probe_image();
    image.entry_gpa = gpa_of(entry);
    // What is touched lies above the rest, where guest page tables have large entries.
    const std::uint64_t bytes = ram_bytes + (entry == probe_touch ? touched_bytes : 0);
    const BootPlan plan = BootPlan::make(image, {bytes}, {}, 1, 0);
    EBB_TRY_ASSIGN(memory, GuestMemory::create(bytes, backing));
    const std::span<std::byte> low_ram = memory.at({0}, plan.free_start.value);
    write_boot_tables(low_ram, plan, image);
    std::memcpy(low_ram.data() + EBB_LOW_IMAGE_GPA, probe_code,
                static_cast<std::size_t>(probe_code_end - probe_code));
    EBB_TRY_ASSIGN(vm, kvm.create_vm());
    EBB_TRY(vm.map(0, {0}, memory.at({0}, bytes), Vm::Access::read_write));
    EBB_TRY_ASSIGN(vcpu, vm.create_vcpu(0));
    EBB_TRY(kvm.apply_supported_cpuid(vcpu));
    EBB_TRY_ASSIGN(initial, vcpu.system_registers());
    EBB_TRY(vcpu.set_system_registers(boot_system_registers(initial, plan, 0, tss_type_here())));
    kvm_regs registers = boot_registers(plan, image, 0);
    const auto arguments = abi::DoorbellCall::make(0, 0);
    registers.rbx = arguments.gpa;
    registers.rcx = arguments.pages;
    registers.rdx = arguments.attributes;
    registers.r8 = rounds;
    registers.r10 = ram_bytes;
    registers.r11 = touched_bytes / rounds;
    registers.r9 = instruction == abi::Doorbell::vmmcall ? 1 : 0;
    EBB_TRY(vcpu.set_registers(registers));
    return SmallMachine{std::move(memory), std::move(vm), std::move(vcpu)};
  }

  GuestMemory memory; // destroyed last
  Vm vm;
  Vcpu vcpu;
};

// Gets the thread that made it out of KVM_RUN when the time is up.
class Watchdog {
 public:
  // Environment error when the host has no thread to give.
  static Result<std::unique_ptr<Watchdog>> start(kvm_run& run) {
    struct sigaction action {};
    action.sa_handler = [](int) {}; // what matters is that KVM_RUN returns EINTR
    ::sigaction(kick_signal, &action, nullptr);
    std::unique_ptr<Watchdog> watchdog(new Watchdog(run));
    EBB_TRY_ASSIGN(thread, Thread::make("measuring", {}, [dog = watchdog.get()] { dog->watch(); }));
    watchdog->thread_ = std::move(thread);
    return watchdog;
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    {
      const std::scoped_lock lock(mutex_);
      done_ = true;
    }
    changed_.notify_one();
  }

  [[nodiscard]] bool barked() const { return barked_.load(std::memory_order_acquire); }

 private:
  explicit Watchdog(kvm_run& run) : run_(run), target_(::pthread_self()) {}

  void watch() {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, std::chrono::nanoseconds(ProbeVm::max_wait_ns),
                          [this] { return done_; })) {
      return;
    }
    barked_.store(true, std::memory_order_release);
    // KVM looks at this byte before it enters the guest; the signal gets it out.
    std::atomic_ref(run_.immediate_exit).store(1, std::memory_order_release);
    ::pthread_kill(target_, kick_signal);
  }

  kvm_run& run_;
  pthread_t target_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false; // guarded by mutex_
  std::atomic<bool> barked_{false};
  Thread thread_; // last: it uses the others
};

// Runs until the guest uses the hypercall port, the time is up or something else happens. Counts
// the exits that `is_round` accepts.
template <typename IsRound>
Result<std::uint64_t> run(const Vcpu& vcpu, std::uint64_t most, IsRound is_round) {
  EBB_TRY_ASSIGN(watchdog, Watchdog::start(vcpu.state()));
  std::uint64_t rounds = 0;
  while (rounds < most && !watchdog->barked()) {
    const int error = vcpu.run();
    if (error == EINTR || error == EAGAIN) {
      continue;
    }
    kvm_run& state = vcpu.state();
    if (error != 0 || !is_round(state)) {
      break;
    }
    ++rounds;
  }
  return rounds;
}

bool is_output(const kvm_run& state, std::uint16_t port) {
  return state.exit_reason == KVM_EXIT_IO && state.io.direction == KVM_EXIT_IO_OUT &&
         state.io.port == port;
}

bool is_doorbell(const kvm_run& state) {
  return is_output(state, EBB_PORT_DOORBELL);
}

bool answer_call(kvm_run& state) {
  if (state.exit_reason != KVM_EXIT_HYPERCALL) {
    return false;
  }
  state.hypercall.ret = 0;
  return true;
}

std::optional<double> mean_ns(Clock::time_point start, Clock::time_point stop,
                              std::uint64_t rounds) {
  if (rounds == 0) {
    return std::nullopt;
  }
  return std::chrono::duration<double, std::nano>(stop - start).count() /
         static_cast<double>(rounds);
}

std::optional<double> mean_cpu_ns(std::uint64_t start_ns, std::uint64_t rounds) {
  if (rounds == 0) {
    return std::nullopt;
  }
  return static_cast<double>(thread_cpu_ns() - start_ns) / static_cast<double>(rounds);
}

// Mean time of a call; empty when not a single one arrived.
Result<std::optional<double>> time_calls(const Kvm& kvm, abi::Doorbell instruction,
                                         std::uint64_t rounds) {
  if (instruction == abi::Doorbell::port ||
      (kvm.extension(KVM_CAP_EXIT_HYPERCALL) & (1 << EBB_DOORBELL_CALL)) == 0) {
    return std::nullopt;
  }
  EBB_TRY_ASSIGN(machine, SmallMachine::create(kvm, probe_calls, rounds, instruction));
  EBB_TRY(machine.vm.let_out_hypercalls());
  const auto start = Clock::now();
  EBB_TRY_ASSIGN(arrived, run(machine.vcpu, rounds, answer_call));
  return mean_ns(start, Clock::now(), arrived);
}

} // namespace

Result<std::optional<double>> ProbeVm::run_without_entry() {
  EBB_TRY_ASSIGN(machine, SmallMachine::create(kvm_, probe_ports, 1, abi::Doorbell::port));
  machine.vcpu.state().immediate_exit = 1;
  const auto start = Clock::now();
  for (std::uint64_t round = 0; round < slow_rounds; ++round) {
    static_cast<void>(machine.vcpu.run());
  }
  return mean_ns(start, Clock::now(), slow_rounds);
}

Result<std::optional<double>> ProbeVm::port() {
  EBB_TRY_ASSIGN(machine,
                 SmallMachine::create(kvm_, probe_ports, slow_rounds, abi::Doorbell::port));
  const auto start = Clock::now();
  EBB_TRY_ASSIGN(rounds, run(machine.vcpu, slow_rounds, is_doorbell));
  return mean_ns(start, Clock::now(), rounds);
}

Result<std::optional<double>> ProbeVm::port_cpu(std::uint64_t rounds) {
  EBB_TRY_ASSIGN(machine, SmallMachine::create(kvm_, probe_ports, rounds, abi::Doorbell::port));
  const std::uint64_t start = thread_cpu_ns();
  EBB_TRY_ASSIGN(arrived, run(machine.vcpu, rounds, is_doorbell));
  return mean_cpu_ns(start, arrived);
}

Result<std::optional<double>> ProbeVm::touch(Backing backing) {
  const bool huge = backing == Backing::thp || backing == Backing::hugetlb;
  const std::uint64_t rounds = touched_bytes / (huge ? abi::huge_page_bytes : abi::page_bytes);
  EBB_TRY_ASSIGN(machine,
                 SmallMachine::create(kvm_, probe_touch, rounds, abi::Doorbell::port, backing));
  // The first exit says that the guest runs; the time of the second one is in the result.
  const auto exits_by = [&](std::uint16_t port) {
    return run(machine.vcpu, 1, [port](const kvm_run& state) { return is_output(state, port); });
  };
  EBB_TRY_ASSIGN(began, exits_by(EBB_PORT_DOORBELL));
  if (began == 0) {
    return std::nullopt;
  }
  const std::uint64_t start = thread_cpu_ns();
  EBB_TRY_ASSIGN(whole, exits_by(EBB_PORT_HYPERCALL));
  return mean_cpu_ns(start, whole * touched_bytes / abi::page_bytes);
}

Result<std::optional<double>> ProbeVm::port_to_eventfd() {
  if (kvm_.extension(KVM_CAP_IOEVENTFD) == 0) {
    return std::nullopt;
  }
  EBB_TRY_ASSIGN(machine,
                 SmallMachine::create(kvm_, probe_ports, fast_rounds, abi::Doorbell::port));
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) {
    return system_error("eventfd");
  }
  // The guest's RAX, which it writes to the port, starts as zero.
  EBB_TRY(machine.vm.bind_doorbell(event.get(), EBB_PORT_DOORBELL, 0));
  const auto start = Clock::now();
  EBB_TRY(run(machine.vcpu, 1,
              [](const kvm_run& state) { return is_output(state, EBB_PORT_HYPERCALL); }));
  const auto stop = Clock::now();
  // What arrived counts, also when the time was up before the last one.
  std::uint64_t signalled = 0;
  if (::read(event.get(), &signalled, sizeof signalled) != sizeof signalled) {
    return std::nullopt;
  }
  return mean_ns(start, stop, signalled);
}

Result<std::optional<double>> ProbeVm::call(abi::Doorbell instruction) {
  return time_calls(kvm_, instruction, slow_rounds);
}

Result<bool> ProbeVm::call_arrives(abi::Doorbell instruction) {
  EBB_TRY_ASSIGN(time, time_calls(kvm_, instruction, 1));
  return time.has_value();
}

abi::Doorbell hypercall_instruction() {
  switch (cpu_vendor()) {
  case CpuVendor::intel:
    return abi::Doorbell::vmcall;
  case CpuVendor::amd:
    return abi::Doorbell::vmmcall;
  case CpuVendor::other:
    break;
  }
  return abi::Doorbell::port;
}

const char* kvm_module() {
  // kvm_pvm first: it can be loaded beside a vendor's module that found no hardware.
  if (::access("/sys/module/kvm_pvm", F_OK) == 0) {
    return "kvm_pvm";
  }
  if (::access("/sys/module/kvm_amd", F_OK) == 0) {
    return "kvm_amd";
  }
  return ::access("/sys/module/kvm_intel", F_OK) == 0 ? "kvm_intel" : "kvm";
}

Result<abi::Doorbell> require_vmcall(const Kvm& kvm) {
  const abi::Doorbell instruction = hypercall_instruction();
  EBB_TRY_ASSIGN(arrives, ProbeVm(kvm).call_arrives(instruction));
  if (!arrives) {
    return environment_error("vmcall is not delivered by this KVM ({}); use pio", kvm_module());
  }
  return instruction;
}

} // namespace vmm
