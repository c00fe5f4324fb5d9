// SPDX-License-Identifier: MIT
#include "guest/linux/load/script.hpp"

#include <cerrno>

namespace guest::linux {

namespace {

constexpr std::string_view blanks = " \t";

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string_view::npos
             ? std::string_view{}
             : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

} // namespace

// A line that does not end within the bytes that are looked at is cut off there; a path must not
// be.
Or<ScriptLine> parse_script(std::string_view head) {
  head = head.substr(0, ScriptLine::most_bytes);
  const std::size_t end = head.find_first_of(std::string_view("\n\0", 2));
  const bool cut = end == std::string_view::npos && head.size() == ScriptLine::most_bytes;
  std::string_view line = head.substr(0, end);
  line.remove_prefix(std::string_view("#!").size());
  const std::size_t start = line.find_first_not_of(blanks);
  if (start == std::string_view::npos) {
    return std::unexpected(ENOEXEC);
  }
  line.remove_prefix(start);
  const std::size_t path_end = line.find_first_of(blanks);
  if (path_end == std::string_view::npos && cut) {
    return std::unexpected(ENOEXEC);
  }
  const std::string_view interpreter = line.substr(0, path_end);
  return ScriptLine{interpreter, trim(line.substr(interpreter.size()))};
}

} // namespace guest::linux
