// SPDX-License-Identifier: MIT
// fmt's code for the whole image: its library is not linked, it needs an operating system.
#define FMT_HEADER_ONLY
#include "guest/runtime/format.hpp"

#include <algorithm>

namespace guest {

std::string_view format_into(std::span<char> room, fmt::string_view format, fmt::format_args args) {
  const auto result = fmt::vformat_to_n(room.data(), room.size(), format, args);
  return {room.data(), std::min(result.size, room.size())};
}

} // namespace guest
