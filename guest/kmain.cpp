// SPDX-License-Identifier: MIT
// Boot order: kernel, workload, settle, exit. The host has set up everything that other kernels
// need boot code for (vmm/boot/boot_state.hpp), so the first instruction is C++ at CPL3.
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "guest/arch/cpu.hpp"
#include "guest/kernel/kernel.hpp"
#include "guest/program/run_program.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/workload.hpp"
#include "shared/boot_info.hpp"

// Made by the linker script.
extern "C" const guest::WorkloadEntry* const __workloads_start[];
extern "C" const guest::WorkloadEntry* const __workloads_end[];

namespace guest {
namespace {

// Room for the kernel: built when boot info is known, never destroyed.
alignas(Kernel) constinit std::byte kernel_storage[sizeof(Kernel)]{};

constexpr int status_usage = 2;

std::span<const WorkloadEntry* const> workloads() {
  return {__workloads_start, __workloads_end};
}

void list_workloads() {
  for (const WorkloadEntry* const entry : workloads()) {
    print("{:<10} {}\n", entry->name, entry->summary);
  }
}

[[noreturn]] void run(Kernel& kernel) {
  if (abi::ProgramStart* const program = kernel.program()) {
    run_program(kernel, *program);
  }
  Env env(kernel);
  const std::string_view name = env.arg("workload", "idle");
  if (name == "list") {
    list_workloads();
    env.exit(0);
  }
  if (name == "syscalls") {
    list_calls();
    env.exit(0);
  }
  for (const WorkloadEntry* const entry : workloads()) {
    if (name == entry->name) {
      check_arguments(env, *entry);
      hypercall::workload_begin();
      const int status = entry->main(env);
      kernel.settle();
      const std::uint64_t last_free_ns = kernel.pages().last_buddy_free_ns();
      hypercall::workload_end(kernel.now_ns() - last_free_ns);
      env.exit(status);
    }
  }
  print("workload '{}' is unknown; --list-workloads names those of this image\n", name);
  env.exit(status_usage);
}

} // namespace
} // namespace guest

// First instruction of each vCPU, on its own stack, as if called by the host. The others start when
// vCPU 0 has made the kernel.
extern "C" [[noreturn]] void guest_entry(const abi::BootInfo* boot, std::uint32_t vcpu) {
  if (vcpu != 0) {
    auto* const kernel = std::launder(reinterpret_cast<guest::Kernel*>(guest::kernel_storage));
    kernel->adopt_vcpu();
    kernel->crew().serve(vcpu);
  }
  auto* const kernel = new (guest::kernel_storage) guest::Kernel(*boot);
  kernel->adopt_vcpu();
  kernel->start_vcpus();
  guest::run(*kernel);
}
