// SPDX-License-Identifier: MIT
#include "guest/linux/load/initial_stack.hpp"

#include <elf.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t stack_alignment = 16;
constexpr std::string_view platform = "x86_64";
// Clock ticks a second that times() counts.
constexpr std::uint64_t ticks_per_second = 100;
// Entries below, the last one included.
constexpr std::size_t auxiliary_entries = 19;

// Grows down through a span.
class Writer {
 public:
  Writer(std::span<std::byte> stack, std::uint64_t address)
      : stack_(stack), address_(address), at_(stack.size()) {}

  // Room for that many bytes below what is there; empty when there is none left.
  [[nodiscard]] std::span<std::byte> take(std::size_t bytes) {
    if (bytes > at_) {
      full_ = true;
      return {};
    }
    at_ -= bytes;
    return stack_.subspan(at_, bytes);
  }
  // The text, and a NUL if it brings none; its address.
  std::uint64_t put(std::string_view text, bool with_nul) {
    const std::span<std::byte> room = take(text.size() + (with_nul ? 1 : 0));
    if (!room.empty()) {
      std::memcpy(room.data(), text.data(), text.size());
      if (with_nul) {
        room.back() = std::byte{0};
      }
    }
    return address();
  }
  void align(std::size_t bytes_to_come) {
    at_ -= at_ < stack_alignment ? at_ : (at_ - bytes_to_come) % stack_alignment;
  }
  [[nodiscard]] std::uint64_t address() const { return address_ + at_; }
  [[nodiscard]] bool full() const { return full_; }

 private:
  std::span<std::byte> stack_;
  std::uint64_t address_;
  std::size_t at_;
  bool full_ = false;
};

// Fills words upwards.
class Words {
 public:
  explicit Words(std::span<std::byte> room) : room_(room) {}
  void add(std::uint64_t word) {
    std::memcpy(room_.data() + at_, &word, sizeof word);
    at_ += sizeof word;
  }
  // The addresses of the strings that lie one behind the other from `address` on, and a null.
  void add_pointers(std::string_view strings, std::uint32_t count, std::uint64_t address) {
    for (std::uint32_t index = 0; index < count; ++index) {
      add(address);
      const std::size_t bytes = strings.find('\0') + 1;
      strings.remove_prefix(bytes);
      address += bytes;
    }
    add(0);
  }

 private:
  std::span<std::byte> room_;
  std::size_t at_ = 0;
};

bool has_strings(std::string_view text, std::uint32_t count) {
  for (; count != 0; --count) {
    const std::size_t end = text.find('\0');
    if (end == std::string_view::npos) {
      return false;
    }
    text.remove_prefix(end + 1);
  }
  return text.empty();
}

} // namespace

Or<std::uint64_t> build_stack(std::span<std::byte> stack, std::uint64_t address,
                              const StackContents& contents) {
  if (!has_strings(contents.arguments, contents.argument_count) ||
      !has_strings(contents.environment, contents.environment_count)) {
    return std::unexpected(EINVAL);
  }
  Writer writer(stack, address);
  const std::uint64_t path = writer.put(contents.program_path, true);
  const std::uint64_t environment = writer.put(contents.environment, false);
  const std::uint64_t arguments = writer.put(contents.arguments, false);
  const std::uint64_t platform_name = writer.put(platform, true);
  const std::uint64_t random = writer.put(
      {reinterpret_cast<const char*>(contents.random.data()), contents.random.size()}, false);
  const std::size_t words = 1 + (std::size_t{contents.argument_count} + 1) +
                            (std::size_t{contents.environment_count} + 1) + 2 * auxiliary_entries;
  writer.align(words * sizeof(std::uint64_t));
  const std::span<std::byte> room = writer.take(words * sizeof(std::uint64_t));
  if (writer.full()) {
    return std::unexpected(E2BIG);
  }
  Words out(room);
  out.add(contents.argument_count);
  out.add_pointers(contents.arguments, contents.argument_count, arguments);
  out.add_pointers(contents.environment, contents.environment_count, environment);
  const std::array<std::array<std::uint64_t, 2>, auxiliary_entries> auxiliary{{
      {AT_PHDR, contents.headers_address},
      {AT_PHENT, sizeof(Elf64_Phdr)},
      {AT_PHNUM, contents.headers},
      {AT_PAGESZ, abi::page_bytes},
      {AT_BASE, contents.linker_base},
      {AT_FLAGS, 0},
      {AT_ENTRY, contents.entry},
      {AT_UID, contents.user},
      {AT_EUID, contents.user},
      {AT_GID, contents.group},
      {AT_EGID, contents.group},
      {AT_SECURE, 0},
      {AT_CLKTCK, ticks_per_second},
      {AT_RANDOM, random},
      {AT_EXECFN, path},
      {AT_PLATFORM, platform_name},
      {AT_HWCAP, 0},
      // An entry of the last type ends the list.
      {contents.vdso != 0 ? std::uint64_t{AT_SYSINFO_EHDR} : AT_NULL, contents.vdso},
      {AT_NULL, 0},
  }};
  for (const auto& [type, value] : auxiliary) {
    out.add(type);
    out.add(value);
  }
  return writer.address();
}

} // namespace guest::linux
