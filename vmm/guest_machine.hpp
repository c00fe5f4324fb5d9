// SPDX-License-Identifier: MIT
// The guest's machine, ready for its first instruction: RAM with image, input and boot info in it,
// memory slots, vCPUs with their threads to be, and the lines that interrupt them. It makes nothing
// run and watches nothing; every other owner acts on it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shared/guest_status.hpp"
#include "shared/hypercall.hpp"
#include "shared/program_start.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/boot/boot_state.hpp"
#include "vmm/boot/image.hpp"
#include "vmm/boot/recording.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/kvm/wake_lines.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/vcpu/vcpu_threads.hpp"

namespace vmm {

// What a guest is made of: files that were read before anything else is made.
struct GuestFiles {
  Image image;
  Symbols symbols; // for backtraces; may be empty
  std::optional<Recording> input;
  std::vector<std::byte> program; // what program_start() made; empty: a workload is run
};

class GuestMachine {
 public:
  // `kvm` is needed for no longer than this. User error when image, memory and vCPUs do not fit
  // each other or this KVM.
  static Result<std::unique_ptr<GuestMachine>> create(const Kvm& kvm, const Config& config,
                                                      GuestFiles files);
  GuestMachine(const GuestMachine&) = delete;
  GuestMachine& operator=(const GuestMachine&) = delete;

  [[nodiscard]] GuestMemory& memory() { return memory_; }
  [[nodiscard]] const GuestMemory& memory() const { return memory_; }
  [[nodiscard]] MemorySlots& slots() { return slots_; }
  [[nodiscard]] const Image& image() const { return files_.image; }
  [[nodiscard]] const Symbols& symbols() const { return files_.symbols; }
  // Whole pages, mapped at plan().input_gpa; empty when there is no input.
  [[nodiscard]] std::span<const std::byte> input_pages() const;
  [[nodiscard]] const BootPlan& plan() const { return plan_; }
  [[nodiscard]] std::span<const Vcpu> vcpus() const { return vcpus_; }
  [[nodiscard]] VcpuThreads& threads() { return threads_; }
  [[nodiscard]] std::uint32_t tsc_khz() const { return tsc_khz_; }
  // What the guest is offered, in its boot info.
  [[nodiscard]] std::uint64_t features() const { return features_; }
  // The guest's own account of itself, and the policy that it is told; both in guest memory.
  [[nodiscard]] abi::GuestStatus& status() const;
  [[nodiscard]] abi::ReportControl& report_control() const;
  // What a program's guest was told, and what it has counted; null: a workload is run.
  [[nodiscard]] const abi::ProgramStart* program() const;

  [[nodiscard]] abi::VcpuPage& first_vcpu_page() const;

  // The guest has accepted feature_interrupt.
  void allow_wake_ups();
  // Interrupts that make vCPUs look. Nothing without an interrupt controller, or before they are
  // allowed. Any thread.
  void wake(unsigned vcpu) const;
  void wake_all() const;

  // Rings of `channel` go to `event` from now on and do not leave the kernel.
  [[nodiscard]] Result<void> bind_doorbell(int event, unsigned channel) const;

 private:
  // What a vCPU's creation yields.
  struct Processors {
    std::vector<Vcpu> vcpus;
    std::unique_ptr<WakeLines> lines; // null where there are no interrupts
    std::uint32_t tsc_khz = 0;
  };
  static Result<Processors> make_processors(const Kvm& kvm, const Vm& vm, unsigned count,
                                            bool interrupts);

  GuestMachine(Vm vm, GuestMemory memory, GuestFiles files, const BootPlan& plan,
               Processors&& processors, std::uint64_t features);
  [[nodiscard]] Result<void> load(const Config& config, abi::Doorbell doorbell);

  const Vm vm_;
  GuestMemory memory_;
  const GuestFiles files_;
  const BootPlan plan_;
  const std::uint64_t features_;
  const std::uint32_t tsc_khz_;
  MemorySlots slots_;
  const std::vector<Vcpu> vcpus_;
  const std::unique_ptr<WakeLines> lines_; // null where there are no interrupts
  VcpuThreads threads_;
};

} // namespace vmm
