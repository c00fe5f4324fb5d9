// SPDX-License-Identifier: MIT
// What is told on standard error. When that fails (it is closed, its disk is full), there is nobody
// left to tell, and the work goes on: fmt::print would throw.
#pragma once

#include <cstdio>
#include <string>
#include <utility>

#include <fmt/core.h>

namespace vmm {

template <typename... Args> void tell(fmt::format_string<Args...> format, Args&&... args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

} // namespace vmm
