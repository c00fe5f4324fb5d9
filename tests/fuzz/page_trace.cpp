// SPDX-License-Identifier: MIT
// Any bytes as the file given with --input, plain or xz: refused with one line and bounded memory,
// or a trace that a guest can replay.
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/boot/recording.hpp"

namespace {

constexpr std::uint64_t limit_bytes = std::uint64_t{1} << 20;

void load(std::span<const std::byte> bytes) {
  const vmm::UniqueFd file(::memfd_create("fuzz", MFD_CLOEXEC));
  fuzz::require(file.valid() && ::write(file.get(), bytes.data(), bytes.size()) ==
                                    static_cast<ssize_t>(bytes.size()));
  const auto input =
      vmm::Recording::load("/proc/self/fd/" + std::to_string(file.get()), limit_bytes);
  if (!input) {
    fuzz::require(input.error().message.find('\n') == std::string::npos);
    return;
  }
  fuzz::require(input->bytes() <= limit_bytes && input->pages().size() >= input->bytes());
  const auto again = vmm::validate_recording(input->pages().first(input->bytes()), "again");
  fuzz::require(again && again->events == input->summary().events);
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  if (bytes.take<std::uint8_t>() % 2 == 0) {
    load(std::as_bytes(bytes.rest()));
    return 0;
  }
  // Events behind a good header.
  std::vector<std::uint64_t> words(2);
  constexpr std::uint64_t magic = 0x3145434152544750; // "PGTRACE1"
  words[0] = magic;
  while (!bytes.empty()) {
    words.push_back(bytes.take<std::uint32_t>() % 16 |
                    std::uint64_t{bytes.take<std::uint8_t>()} << 56 |
                    std::uint64_t{bytes.take<std::uint16_t>()} << 32);
  }
  words[1] = words.size() - 2;
  load(std::as_bytes(std::span(words)));
  return 0;
}
