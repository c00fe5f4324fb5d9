// SPDX-License-Identifier: MIT
// The first line of a script: which program runs it, as execve of Linux reads it. Pure.
#pragma once

#include <string_view>

#include "guest/linux/load/elf_image.hpp"

namespace guest::linux {

struct ScriptLine {
  // So many bytes of a file are looked at.
  static constexpr std::size_t most_bytes = 256;

  std::string_view interpreter; // its path
  std::string_view argument;    // all that follows, as one; empty: none
};

[[nodiscard]] inline bool is_script(std::string_view head) {
  return head.starts_with("#!");
}
// `head` is how the script begins. ENOEXEC when no interpreter can be made out.
[[nodiscard]] Or<ScriptLine> parse_script(std::string_view head);

} // namespace guest::linux
