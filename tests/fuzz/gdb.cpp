// SPDX-License-Identifier: MIT
// Any bytes from a debugger: the session must stay within what a DebugTarget allows (the fake one
// asserts it) and never need more memory than a packet. The first byte chooses: a raw stream, or
// lines that are framed as packets, or few would get past the checksum. In lines, a leading '!' is
// an interrupt and a leading '~' lets a vCPU stop.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tests/support/fake_debug_target.hpp"
#include "vmm/debug/gdb_packets.hpp"
#include "vmm/debug/gdb_session.hpp"

namespace {

void say(test_support::FakeDebugTarget& target, vmm::GdbSession& session, std::string_view line) {
  if (line.starts_with('!')) {
    session.receive("\x03");
  } else if (line.starts_with('~') && line.size() >= 3) {
    target.stop_by_itself({static_cast<unsigned char>(line[1]) % target.vcpus(),
                           static_cast<vmm::StopReason>(static_cast<unsigned char>(line[2]) % 6),
                           static_cast<std::uint8_t>(line[2])});
    session.on_stop_event();
  } else {
    session.receive(vmm::frame_packet(line));
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  // Justified: libFuzzer hands out bytes, packets are characters.
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  test_support::FakeDebugTarget target(data[0] % 16 + 1);
  std::size_t sent = 0;
  vmm::GdbSession session(target, [&sent](std::string_view bytes) { sent += bytes.size(); });
  if (data[0] >> 7 != 0) {
    session.receive(text);
  } else {
    while (!text.empty()) {
      say(target, session, vmm::take_until(text, '\n'));
    }
  }
  if (session.running()) {
    session.on_end({vmm::EndKind::exited, 0, {}});
  }
  return 0;
}
