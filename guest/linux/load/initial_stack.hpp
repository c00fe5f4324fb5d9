// SPDX-License-Identifier: MIT
// What lies on a program's stack at its first instruction: argument count, arguments, environment
// and auxiliary vector (System V ABI, x86-64 supplement, 3.4.1; getauxval(3)). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/linux/load/elf_image.hpp"

namespace guest::linux {

struct StackContents {
  // Strings, each ended by NUL, one behind the other; as many as the counts say.
  std::string_view arguments;
  std::uint32_t argument_count = 0;
  std::string_view environment;
  std::uint32_t environment_count = 0;
  std::string_view program_path; // without NUL
  std::uint64_t entry = 0;       // of the program, wherever it starts
  std::uint64_t headers_address = 0;
  std::uint16_t headers = 0;
  std::uint64_t linker_base = 0; // 0: no dynamic linker
  std::uint64_t vdso = 0;        // 0: none
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  std::span<const std::byte, 16> random;
};

// Writes it to the end of `stack`, memory that the program will see at `address`, a multiple of 16.
// Returns the address for RSP; E2BIG when it does not fit.
[[nodiscard]] Or<std::uint64_t> build_stack(std::span<std::byte> stack, std::uint64_t address,
                                            const StackContents& contents);

} // namespace guest::linux
