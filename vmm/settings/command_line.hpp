// SPDX-License-Identifier: MIT
// A command line taken apart by the names and shapes of its options, before any value is looked at.
// The work is CLI11's; only command_line.cpp includes it, as reading it takes many seconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vmm/base/result.hpp"

namespace vmm {

// How often an option may be given, and whether a value follows.
enum class OptionUse : std::uint8_t {
  flag,  // no value
  once,  // one value, given once at most
  often, // one value each time
};

// An option as --help shows it.
struct OptionShape {
  const char* name; // with its dashes
  const char* type; // of its value; unused by a flag
  const char* group;
  const char* help;
  OptionUse use = OptionUse::once;
};

// What was given.
struct SplitLine {
  std::string image; // empty: none
  // For each shape, in the order given; what a flag has says nothing but that it was given.
  std::vector<std::vector<std::string>> values;
};

// Text to print on standard output, then exit status 0: --help and --version.
struct ShowText {
  std::string text;
};

// argv with a program name of any spelling at [0]. `footer` ends the help. A user error names an
// option that does not exist, lacks its value, has an empty one or is given too often, and a second
// guest image.
[[nodiscard]] Result<std::variant<SplitLine, ShowText>>
split_command_line(std::span<const char* const> argv, std::span<const OptionShape> shapes,
                   const char* footer);

} // namespace vmm
