// SPDX-License-Identifier: MIT
#include "guest/linux/load/initial_stack.hpp"

#include <elf.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::build_stack;
using guest::linux::StackContents;

constexpr std::array<std::byte, 16> random_bytes{std::byte{0xa5}, std::byte{0x5a}};

// A stack as the program sees it.
struct Stack {
  explicit Stack(const StackContents& contents, std::size_t bytes = 4096) : memory(bytes) {
    const auto built = build_stack(memory, base, contents);
    if (!built) {
      error = built.error();
      return;
    }
    top = *built;
    std::uint64_t at = top;
    const std::uint64_t count = word(at);
    for (std::uint64_t index = 0; index < count; ++index) {
      arguments.push_back(text(word(at += 8)));
    }
    REQUIRE(word(at += 8) == 0);
    while (const std::uint64_t pointer = word(at += 8)) {
      environment.push_back(text(pointer));
    }
    for (at += 8; word(at) != AT_NULL; at += 16) {
      auxiliary[word(at)] = word(at + 8);
    }
  }
  [[nodiscard]] std::uint64_t word(std::uint64_t address) const {
    std::uint64_t value = 0;
    REQUIRE(address - base + 8 <= memory.size());
    std::memcpy(&value, memory.data() + (address - base), sizeof value);
    return value;
  }
  [[nodiscard]] std::string text(std::uint64_t address) const {
    REQUIRE(address - base < memory.size());
    return reinterpret_cast<const char*>(memory.data() + (address - base));
  }

  static constexpr std::uint64_t base = 0x7000'0000;
  std::vector<std::byte> memory;
  std::uint64_t top = 0;
  int error = 0;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::map<std::uint64_t, std::uint64_t> auxiliary;
};

std::string_view strings(const char* text, std::size_t bytes) {
  return {text, bytes};
}

StackContents sample() {
  return {.arguments = strings("echo\0two words\0\0", 16),
          .argument_count = 3,
          .environment = strings("A=1\0HOME=/root\0", 15),
          .environment_count = 2,
          .program_path = "/bin/echo",
          .entry = 0x401000,
          .headers_address = 0x400040,
          .headers = 11,
          .linker_base = 0x10000000,
          .vdso = 0,
          .user = 1000,
          .group = 1001,
          .random = random_bytes};
}

} // namespace

TEST_CASE("arguments, environment and auxiliary vector are where a program looks for them") {
  const Stack stack(sample());
  CHECK(stack.top % 16 == 0);
  CHECK(stack.arguments == std::vector<std::string>{"echo", "two words", ""});
  CHECK(stack.environment == std::vector<std::string>{"A=1", "HOME=/root"});
  CHECK(stack.auxiliary.at(AT_ENTRY) == 0x401000);
  CHECK(stack.auxiliary.at(AT_PHDR) == 0x400040);
  CHECK(stack.auxiliary.at(AT_PHENT) == sizeof(Elf64_Phdr));
  CHECK(stack.auxiliary.at(AT_PHNUM) == 11);
  CHECK(stack.auxiliary.at(AT_BASE) == 0x10000000);
  CHECK(stack.auxiliary.at(AT_PAGESZ) == 4096);
  CHECK(stack.auxiliary.at(AT_UID) == 1000);
  CHECK(stack.auxiliary.at(AT_EGID) == 1001);
  CHECK(stack.auxiliary.at(AT_SECURE) == 0);
  CHECK(stack.text(stack.auxiliary.at(AT_EXECFN)) == "/bin/echo");
  CHECK(stack.text(stack.auxiliary.at(AT_PLATFORM)) == "x86_64");
  CHECK(stack.word(stack.auxiliary.at(AT_RANDOM)) == 0x5aa5);
}

TEST_CASE("a vdso is told of when there is one") {
  StackContents contents = sample();
  CHECK_FALSE(Stack(contents).auxiliary.contains(AT_SYSINFO_EHDR));
  contents.vdso = 0x20000000;
  const Stack stack(contents);
  CHECK(stack.auxiliary.at(AT_SYSINFO_EHDR) == 0x20000000);
  CHECK(stack.auxiliary.at(AT_BASE) == 0x10000000);
}

TEST_CASE("the stack is aligned whatever lies on it") {
  for (std::size_t extra = 0; extra < 40; ++extra) {
    StackContents contents = sample();
    const std::string path(1 + extra, 'x');
    contents.program_path = path;
    contents.argument_count = extra % 2 == 0 ? 3 : 1;
    contents.arguments = extra % 2 == 0 ? contents.arguments : strings("a\0", 2);
    const Stack stack(contents);
    REQUIRE(stack.error == 0);
    CHECK(stack.top % 16 == 0);
    CHECK(stack.text(stack.auxiliary.at(AT_EXECFN)) == path);
  }
}

TEST_CASE("what does not fit is E2BIG, whatever is just too much") {
  std::size_t enough = 0;
  for (std::size_t bytes = 0; bytes <= 1024; bytes += 8) {
    const Stack stack(sample(), bytes);
    if (stack.error == 0) {
      enough = enough == 0 ? bytes : enough;
      CHECK(stack.arguments.size() == 3);
    } else {
      REQUIRE(enough == 0);
      CHECK(stack.error == E2BIG);
    }
  }
  CHECK(enough > 400);
}

TEST_CASE("counts that the strings do not bear out are refused") {
  StackContents contents = sample();
  contents.argument_count = 4;
  CHECK(Stack(contents).error == EINVAL);
  contents = sample();
  contents.environment_count = 1;
  CHECK(Stack(contents).error == EINVAL);
  contents = sample();
  contents.environment = strings("A=1\0HOME", 8);
  CHECK(Stack(contents).error == EINVAL);
}
