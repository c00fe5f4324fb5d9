// SPDX-License-Identifier: MIT
// Any lines as commands of the control socket: each is answered by one line, and the policy in
// force stays one that the command line would take.
#include <csignal>
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/control/control_commands.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t guest_bytes = std::uint64_t{1} << 30;
  abi::ReportControl control;
  vmm::ReportControlWriter writer(control, {control.policy, control.timeout_ns}, {});
  auto end = vmm::GuestEnd::create();
  auto marks = vmm::MemoryMarks::create();
  fuzz::require(end.has_value() && marks.has_value());
  vmm::VcpuGate gate(1, SIGURG);
  std::atomic<std::uint64_t> price_ns{1};
  vmm::ControlCommands commands(
      {.report = writer,
       .end = **end,
       .marks = **marks,
       .gate = &gate,
       .automatic = [](const abi::ReportPolicy& policy) { return policy; },
       .memory_price_ns = price_ns,
       .hints = [] { return vmm::HintTotals{}; },
       .memory =
           [] { return vmm::MemorySample{.at_ns = 1, .resident_bytes = 1 << 20, .guest = {}}; },
       .guest_bytes = guest_bytes});
  // Justified: bytes as text.
  std::string_view left(reinterpret_cast<const char*>(data), size);
  bool told = false;
  while (!left.empty()) {
    const std::size_t line = std::min(left.find('\n'), left.size());
    const vmm::ControlReply reply = commands.execute(left.substr(0, line));
    const std::string answer = reply.later ? reply.later().value_or("") : reply.text;
    left.remove_prefix(std::min(line + 1, left.size()));
    fuzz::require(answer.starts_with("{\"ok\":") || (reply.later && answer.empty()));
    fuzz::require(answer.find('\n') == std::string::npos && price_ns != 0);
    const vmm::ReportSettings now = writer.settings();
    fuzz::require(now.policy.order <= abi::max_order && now.policy.batch >= 1 &&
                  now.policy.batch <= abi::max_batch_ranges);
    fuzz::require(now.policy.keep_bytes <= guest_bytes && now.policy.enabled <= 1);
    fuzz::require(control.generation % 2 == 0);
    if (!told && answer.size() % 2 == 0) { // the guest's hello comes at some time
      writer.set_reader(vmm::ControlReader::present);
      told = true;
    }
  }
  return 0;
}
