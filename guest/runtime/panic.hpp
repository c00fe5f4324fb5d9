// SPDX-License-Identifier: MIT
// The end of a guest that found its own invariants broken: message, backtrace and registers
// go to the host, which prints them with symbols and ends with exit status 3.
#pragma once

#include <string_view>

#include "guest/arch/trap.hpp"
#include "guest/runtime/fmt_config.hpp"

namespace guest {

[[noreturn]] void panic_args(fmt::string_view format, fmt::format_args args);

// panic("double free of {:#x}", gpa)
template <typename... Args>
[[noreturn]] void panic(fmt::format_string<Args...> format, const Args&... args) {
  panic_args(format, fmt::make_format_args(args...));
}

// For a trap that nothing handles.
[[noreturn]] void panic_on_trap(const arch::TrapFrame& frame);

} // namespace guest
