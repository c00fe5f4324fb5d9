// SPDX-License-Identifier: MIT
// Appends formatted text to a string. In one place, because each source that says
// fmt::format_to(std::back_inserter(text), ...) where it sees fmt/format.h compiles all of fmt's
// formatting anew.
#pragma once

#include <string>

#include <fmt/core.h>

namespace vmm {

void append_arguments(std::string& text, fmt::string_view format, fmt::format_args arguments);

// append_text(line, "{:>9} (missing)\n", number)
template <typename... Args>
void append_text(std::string& text, fmt::format_string<Args...> format, const Args&... arguments) {
  append_arguments(text, format, fmt::make_format_args(arguments...));
}

} // namespace vmm
