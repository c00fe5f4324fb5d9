// SPDX-License-Identifier: MIT
// The commands of the control socket:
//
//   report off | on          switches reporting
//   report KEY=VALUE,...     changes the policy, as --report does, on top of the one in force
//   status                   policy, hints and memory as one line of JSON
//   help
//
// Each is answered by one line: "ok ..." or "error ...".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "vmm/control/report_control_writer.hpp"
#include "vmm/hints/hint_totals.hpp"
#include "vmm/measure/sampler.hpp"

namespace vmm {

struct ControlTargets {
  ReportControlWriter& report;
  // What order=auto means on this machine, on top of a policy.
  std::function<abi::ReportPolicy(const abi::ReportPolicy&)> automatic;
  std::function<HintTotals()> hints;
  std::function<MemorySample()> memory;
  std::uint64_t guest_bytes = 0; // a keep-warm reserve must fit
};

class ControlCommands {
 public:
  explicit ControlCommands(ControlTargets targets) : targets_(std::move(targets)) {}

  // One line of any content to one line. One thread at a time.
  [[nodiscard]] std::string execute(std::string_view line) const;

 private:
  [[nodiscard]] Result<std::string> report(std::string_view argument) const;
  [[nodiscard]] std::string status() const;

  ControlTargets targets_;
};

// "on order=9,batch=256,keep=0,delay=0us,timeout=0us,strategy=batch": what `report` has set; the
// part behind the first space is accepted by --report.
std::string describe(const ReportSettings& settings);

} // namespace vmm
