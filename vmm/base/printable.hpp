// SPDX-License-Identifier: MIT
// Guest text made harmless for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace vmm {

// Replaces control characters other than newline and tab by '?': a hostile guest must not send
// escape sequences to the user's terminal. Bytes from 0x80 on pass, UTF-8 needs them; C1 controls
// in UTF-8 form (0xc2 0x80...0x9f) do not, nor half of one at the end, which the guest's next text
// could complete.
[[nodiscard]] inline std::string printable(std::string_view text) {
  std::string result(text);
  for (std::size_t index = 0; index < result.size(); ++index) {
    const auto byte = static_cast<unsigned char>(result[index]);
    const bool c0 = byte < 0x20 && byte != '\n' && byte != '\t';
    const bool at_end = index + 1 == result.size();
    const bool c1 =
        byte == 0xc2 && (at_end || (static_cast<unsigned char>(result[index + 1]) & 0xe0U) == 0x80);
    if (c1 && !at_end) {
      result[index + 1] = '?';
    }
    if (c0 || c1 || byte == 0x7f) {
      result[index] = '?';
    }
  }
  return result;
}

} // namespace vmm
