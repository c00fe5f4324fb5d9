// SPDX-License-Identifier: MIT
// Standard output whose errors are told: a program that could not say what it was asked for has
// failed.
#pragma once

#include <string_view>

#include "vmm/base/result.hpp"

namespace vmm {

// All of `text`. Environment error when it cannot be written.
[[nodiscard]] Result<void> write_standard_output(std::string_view text);

// What an errno of a write to standard output means: that the reader has left is no error, nor is
// 0. Needs SIGPIPE to be ignored to be seen.
[[nodiscard]] Result<void> standard_output_result(int error);

} // namespace vmm
