// SPDX-License-Identifier: MIT
// What gdb's `monitor` command can ask of the vmm: hints, memory, help, and requests of the control
// socket. Lines of text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "vmm/hints/hint_totals.hpp"
#include "vmm/measure/sampler.hpp"

namespace vmm {

struct DebugMonitorSources {
  std::function<HintTotals()> hints;
  std::function<MemorySample()> memory; // taken now
  std::function<std::uint64_t()> quarantined_bytes;
  // A line of the control socket's to its answer; empty: there are none.
  std::function<std::string(std::string_view)> control;
  std::uint64_t guest_bytes = 0;
};

class DebugMonitor {
 public:
  explicit DebugMonitor(DebugMonitorSources sources) : sources_(std::move(sources)) {}

  // Any text; one that is no command is answered by a line that says so.
  [[nodiscard]] std::string execute(std::string_view line) const;

 private:
  [[nodiscard]] std::string hints() const;
  [[nodiscard]] std::string memory() const;

  DebugMonitorSources sources_;
};

// What the guest has set aside for good, as it says.
[[nodiscard]] std::uint64_t read_quarantined_bytes(abi::GuestStatus& status);

} // namespace vmm
