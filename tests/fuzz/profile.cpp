// SPDX-License-Identifier: MIT
// Any text as a profile with times, or a good one with other bytes in it: what is taken names only
// frames and stacks that there are.
#include <string>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "tools/hvtrace/profile_file.hpp"

namespace {

constexpr std::string_view good =
    R"({"ebbPeriodNs":10,"shared":{"frames":[{"name":"f"},{"name":"g"}]},"profiles":[)"
    R"({"unit":"nanoseconds","startValue":5,"samples":[[0],[],[0,1]],"weights":[10,7,25]}]})";

void read(std::string_view text) {
  const auto samples = hvtrace::parse_profile(text, "p");
  if (!samples) {
    fuzz::require(samples.error().message.find('\n') == std::string::npos);
    return;
  }
  for (const auto& stack : samples->stacks) {
    fuzz::require(!stack.empty());
    for (const std::size_t frame : stack) {
      fuzz::require(frame < samples->frames.size());
    }
  }
  for (const auto& vcpu : samples->vcpus) {
    for (const auto& sample : vcpu) {
      fuzz::require(sample.stack < samples->stacks.size());
    }
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  if (bytes.take<std::uint8_t>() % 2 == 0) {
    const auto rest = bytes.rest();
    read({reinterpret_cast<const char*>(rest.data()), rest.size()});
    return 0;
  }
  std::string text(good);
  while (!bytes.empty()) {
    text[bytes.below(text.size())] = static_cast<char>(bytes.take<std::uint8_t>());
    read(text);
  }
  return 0;
}
