// SPDX-License-Identifier: MIT
// Any lines as commands of the control socket: each is answered by one line, and the policy in
// force stays one that the command line would take.
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/control/control_commands.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t guest_bytes = std::uint64_t{1} << 30;
  abi::ReportControl control;
  vmm::ReportControlWriter writer(control, {control.policy, control.timeout_ns}, {});
  vmm::ControlCommands commands(
      {.report = writer,
       .automatic = [](const abi::ReportPolicy& policy) { return policy; },
       .hints = [] { return vmm::HintTotals{}; },
       .memory = [] { return vmm::MemorySample{}; },
       .guest_bytes = guest_bytes});
  // Justified: bytes as text.
  std::string_view left(reinterpret_cast<const char*>(data), size);
  bool told = false;
  while (!left.empty()) {
    const std::size_t end = std::min(left.find('\n'), left.size());
    const std::string answer = commands.execute(left.substr(0, end));
    left.remove_prefix(std::min(end + 1, left.size()));
    fuzz::require(answer.starts_with("ok ") || answer.starts_with("error "));
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
