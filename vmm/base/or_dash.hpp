// SPDX-License-Identifier: MIT
// What tables show where there is nothing to show.
#pragma once

#include <optional>
#include <string>

namespace vmm {

// The text of a value that may be unknown: "-" if it is.
template <typename Value, typename Text>
[[nodiscard]] std::string or_dash(const std::optional<Value>& value, Text text) {
  return value ? std::string(text(*value)) : std::string("-");
}

} // namespace vmm
