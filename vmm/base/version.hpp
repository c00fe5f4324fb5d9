// SPDX-License-Identifier: MIT
// The version of the vmm, as `--version` and the statistics show it.
#pragma once

#include <string_view>

namespace vmm {

inline constexpr std::string_view version = "0.1.0";

} // namespace vmm
