// SPDX-License-Identifier: MIT
#include "vmm/vcpu/vcpu_loops.hpp"

namespace vmm {
namespace {

// What the oracle guards cannot be read just now.
Console::Copy copy_past(const Oracle* oracle) {
  if (oracle == nullptr) {
    return {};
  }
  return
      [oracle](abi::Gpa gpa, std::span<const std::byte> bytes) { return oracle->copy(gpa, bytes); };
}

} // namespace

VcpuLoops::VcpuLoops(const VcpuLoopParts& parts)
    : console_(parts.memory, parts.console, copy_past(parts.oracle)),
      hypercalls_({.memory = parts.memory,
                   .slots = parts.slots,
                   .console = console_,
                   .end = parts.end,
                   .symbols = parts.symbols,
                   .listener = parts.listener,
                   .features_offered = parts.features_offered,
                   .on_file = parts.on_file,
                   .on_socket = parts.on_socket,
                   .free_start = parts.free_start}) {
  for (unsigned index = 0; index < parts.vcpus.size(); ++index) {
    runners_.push_back(std::make_unique<VcpuRunner>(parts.vcpus[index], index,
                                                    VcpuSurroundings{.hypercalls = hypercalls_,
                                                                     .hints = parts.hints,
                                                                     .end = parts.end,
                                                                     .symbols = parts.symbols,
                                                                     .observer = parts.observer,
                                                                     .oracle = parts.oracle,
                                                                     .hook = parts.hook,
                                                                     .ticks = parts.ticks}));
  }
}

ExitTotals VcpuLoops::exits() const {
  ExitTotals sum;
  for (const auto& runner : runners_) {
    sum.exits += runner->exits().total.value();
    sum.doorbells += runner->exits().doorbells.value();
    sum.vmcalls += runner->exits().vmcalls.value();
  }
  return sum;
}

PrefaultTotals VcpuLoops::prefaults() const {
  return {hypercalls_.prefaults(), hypercalls_.prefaulted_bytes()};
}

} // namespace vmm
