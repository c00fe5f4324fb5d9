// SPDX-License-Identifier: MIT
#include "vmm/io/terminal.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

namespace vmm {
namespace {

// Empty when not set; which means the same wherever it is asked for here.
std::string_view environment(const char* name) {
  const char* const value = std::getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets any
  return value == nullptr ? std::string_view{} : value;
}

} // namespace

bool terminal_obeys_escapes() {
  const std::string_view terminal = environment("TERM");
  return !terminal.empty() && terminal != "dumb" && environment("NO_COLOR").empty();
}

bool text_may_be_utf8() {
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value(environment(name));
    if (!value.empty()) {
      std::ranges::transform(value, value.begin(), [](char character) {
        return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                                    : character;
      });
      return value.contains("utf-8") || value.contains("utf8");
    }
  }
  return false;
}

} // namespace vmm
