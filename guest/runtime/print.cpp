// SPDX-License-Identifier: MIT
#include "guest/runtime/print.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/format.hpp"
#include "guest/runtime/hypercall.hpp"
#include "shared/layout.h"

namespace guest {

namespace {

// One buffer per vCPU: no lock, and a line is written by one vCPU only.
struct ConsoleBuffer {
  std::size_t used = 0;
  std::array<char, 4096> text{};
};
constinit std::array<ConsoleBuffer, EBB_MAX_VCPUS> buffers{};

ConsoleBuffer& this_buffer() {
  return buffers[arch::vcpu_page().vcpu];
}

} // namespace

void console_append(std::string_view text) {
  ConsoleBuffer& buffer = this_buffer();
  while (!text.empty()) {
    const std::size_t room = buffer.text.size() - buffer.used;
    const std::size_t count = std::min(room, text.size());
    std::copy_n(text.data(), count, buffer.text.data() + buffer.used);
    buffer.used += count;
    const bool line_ended = text[count - 1] == '\n';
    text.remove_prefix(count);
    if (buffer.used == buffer.text.size() || (text.empty() && line_ended)) {
      console_flush();
    }
  }
}

void console_flush() {
  ConsoleBuffer& buffer = this_buffer();
  if (buffer.used != 0) {
    hypercall::console_write({buffer.text.data(), buffer.used});
    buffer.used = 0;
  }
}

void print_args(fmt::string_view format, fmt::format_args args) {
  std::array<char, line_bytes> line; // NOLINT(cppcoreguidelines-pro-type-member-init)
  console_append(format_into(line, format, args));
}

} // namespace guest
