// SPDX-License-Identifier: MIT
#include "vmm/step/guest_words.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <span>

#include <fmt/core.h>

namespace vmm {
namespace {

// A hole of a file gets a page when it is read through a mapping, but not when it is read from the
// file. Anonymous memory shows the one page of zeroes and gets none.
bool copy_out(const GuestMemory& memory, abi::Gpa gpa, std::span<std::byte> to) {
  const std::span<const std::byte> from = memory.at(gpa, to.size());
  if (from.empty()) {
    return false;
  }
  if (memory.fd() >= 0) {
    return ::pread(memory.fd(), to.data(), to.size(), static_cast<off_t>(gpa.value)) ==
           static_cast<ssize_t>(to.size());
  }
  std::memcpy(to.data(), from.data(), to.size());
  return true;
}

} // namespace

Result<std::string> words_at(const GuestMemory& memory, const Symbols& symbols, abi::Gpa gpa,
                             std::uint64_t count) {
  if (count == 0 || count > max_words_shown) {
    return user_error("{} words: must be 1 to {}", count, max_words_shown);
  }
  std::array<std::uint64_t, max_words_shown> words{};
  const auto wanted = std::span(words).first(count);
  if (!copy_out(memory, gpa, std::as_writable_bytes(wanted))) {
    return user_error("{:#x}: not guest memory, or not {} bytes of it", gpa.value, count * 8);
  }
  std::string text;
  for (std::uint64_t index = 0; index < count; ++index) {
    if (index % 2 == 0) {
      text += fmt::format("{}{:#010x}:", index == 0 ? "" : "\n", gpa.value + index * 8);
    }
    text += fmt::format(" {:016x}", words[index]);
    if (const std::string place = symbols.place_at(words[index]); !place.empty()) {
      text += " <" + place + ">";
    }
  }
  return text + "\n";
}

} // namespace vmm
