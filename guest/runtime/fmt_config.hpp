// SPDX-License-Identifier: MIT
// fmt as the guest uses it: no locale (it would need static constructors), no exceptions; an
// impossible format is caught at compile time, what remains ends in panic. Include this instead of
// <fmt/...>. It declares; fmt's code is compiled in format.cpp alone.
#pragma once

namespace guest {
[[noreturn]] void panic_text(const char* message);
}

#define FMT_STATIC_THOUSANDS_SEPARATOR ','
#define FMT_USE_FLOAT128 0
#define FMT_EXCEPTIONS 0
#define FMT_THROW(x) ::guest::panic_text("fmt: " #x)
#define FMT_ASSERT(condition, message)                                                             \
  ((condition) ? void() : ::guest::panic_text("fmt: " #condition))

#include <fmt/core.h>
