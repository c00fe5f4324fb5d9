// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string_view>

#include "guest/runtime/fmt_config.hpp"

namespace guest {

// The formatted text, in `room`; what does not fit is cut. Allocates nothing.
[[nodiscard]] std::string_view format_into(std::span<char> room, fmt::string_view format,
                                           fmt::format_args args);

} // namespace guest
