// SPDX-License-Identifier: MIT
// Formatted output with fmt, floating point too, without allocation. Text that does not fit
// line_bytes is cut.
#pragma once

#include <cstddef>
#include <string_view>

#include "guest/runtime/fmt_config.hpp"

namespace guest {

inline constexpr std::size_t line_bytes = 512;

// Appends `text` to this vCPU's console buffer. The buffer goes to the host in one exit when a line
// ends or it is full, so a line is never torn by another vCPU's output.
void console_append(std::string_view text);
// Sends what is buffered on this vCPU.
void console_flush();

void print_args(fmt::string_view format, fmt::format_args args);

// print("{} pages\n", n): to the console, see console_append.
template <typename... Args> void print(fmt::format_string<Args...> format, const Args&... args) {
  print_args(format, fmt::make_format_args(args...));
}

} // namespace guest
