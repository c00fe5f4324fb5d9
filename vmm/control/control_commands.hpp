// SPDX-License-Identifier: MIT
// The requests of the control socket, as README.md beside this has them: a command and its
// arguments in a line. Each is answered by a line of JSON, an object whose "ok" says whether it was
// done; if not, "error" says why.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/base/json.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/control/control_reply.hpp"
#include "vmm/control/memory_marks.hpp"
#include "vmm/control/report_control_writer.hpp"
#include "vmm/hints/hint_totals.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/record/trace_switch.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/vcpu_gate.hpp"

namespace vmm {

// What requests act on; all of it outlives them.
struct ControlTargets {
  ReportControlWriter& report;
  GuestEnd& end;
  MemoryMarks& marks;
  VcpuGate* gate = nullptr; // null: somebody else holds the guest's vCPUs
  // What order=auto means on this machine, on top of a policy.
  std::function<abi::ReportPolicy(const abi::ReportPolicy&)> automatic;
  std::atomic<std::uint64_t>& memory_price_ns; // that `automatic` and the ledger go by
  std::function<HintTotals()> hints;
  std::function<MemorySample()> memory;
  TraceSwitch* trace = nullptr;  // null: nothing can be recorded
  bool measures_resident = true; // whether samples have resident memory, once there are any
  std::uint64_t guest_bytes = 0; // a keep-warm reserve must fit
};

class ControlCommands {
 public:
  explicit ControlCommands(ControlTargets targets) : targets_(std::move(targets)) {}

  // One line of any content, and the file that was handed over with it or before, which is taken if
  // the request wants one. One thread at a time; who waits is asked on that thread, too.
  [[nodiscard]] ControlReply execute(std::string_view line, UniqueFd& file);
  [[nodiscard]] ControlReply execute(std::string_view line);
  // Why a request cannot be done: nothing could do it, or not this guest as it is now.
  enum class Fault : std::uint8_t { request, state };
  // The answer to one.
  [[nodiscard]] static std::string refusal(Fault fault, std::string_view why);

 private:
  struct Command;
  static const std::array<Command, 9> commands;

  Result<ControlReply> status(std::string_view argument);
  Result<ControlReply> report(std::string_view argument);
  Result<ControlReply> price(std::string_view argument);
  Result<ControlReply> trace(std::string_view argument);
  Result<ControlReply> pause(std::string_view argument);
  Result<ControlReply> resume(std::string_view argument);
  Result<ControlReply> stop(std::string_view argument);
  Result<ControlReply> wait(std::string_view argument);
  Result<ControlReply> help(std::string_view argument);

  [[nodiscard]] Result<void> check_gate() const;
  [[nodiscard]] std::string_view state() const;
  [[nodiscard]] Json ended() const;
  [[nodiscard]] Json trace_now() const;

  ControlTargets targets_;
  bool paused_ = false;
  UniqueFd* file_ = nullptr; // of the request that is being carried out
};

} // namespace vmm
