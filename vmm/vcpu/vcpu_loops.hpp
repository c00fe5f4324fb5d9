// SPDX-License-Identifier: MIT
// What vCPU threads run: a loop for each vCPU, and what the loops share, the guest's console and
// its hypercalls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "shared/address.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/hint_service.hpp"
#include "vmm/hints/oracle.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/vcpu/console.hpp"
#include "vmm/vcpu/exit_totals.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/hypercalls.hpp"
#include "vmm/vcpu/vcpu_hook.hpp"
#include "vmm/vcpu/vcpu_runner.hpp"
#include "vmm/vcpu/vcpu_ticks.hpp"

namespace vmm {

// What the loops act on; all of it outlives them.
struct VcpuLoopParts {
  std::span<const Vcpu> vcpus;
  GuestMemory& memory;
  MemorySlots& slots;
  GuestEnd& end;
  const Symbols& symbols;
  HintService& hints;
  HypercallListener& listener;
  std::uint64_t features_offered = 0;
  std::function<void()> on_file; // of HypercallTargets, as the next
  std::function<void()> on_socket{};
  abi::Gpa free_start;              // of HypercallTargets
  Console::Sink console;            // where the guest's text goes
  HintObserver* observer = nullptr; // null: nobody watches doorbells
  const Oracle* oracle = nullptr;   // null: none is asked
  VcpuHook* hook = nullptr;         // null: nobody holds vCPUs
  VcpuTicks* ticks = nullptr;       // null: nobody looks at them by the clock
};

class VcpuLoops {
 public:
  explicit VcpuLoops(const VcpuLoopParts& parts);

  // Runs a vCPU until the guest ends, on its own thread.
  void run(unsigned vcpu) { runners_[vcpu]->run(); }

  // Exact once the loops have ended.
  [[nodiscard]] ExitTotals exits() const;
  [[nodiscard]] PrefaultTotals prefaults() const;

 private:
  Console console_;
  Hypercalls hypercalls_;
  std::vector<std::unique_ptr<VcpuRunner>> runners_;
};

} // namespace vmm
