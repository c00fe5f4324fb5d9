// SPDX-License-Identifier: MIT
// A path or a name as one line of a message shows it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace guest::linux {

// What would end the line or steer a terminal is '?', of what is too long the middle is missing,
// and nothing is "" in quotes.
class ToldName {
 public:
  explicit ToldName(std::string_view name) {
    constexpr std::string_view left_out = "...";
    constexpr std::size_t half = (most_bytes - left_out.size()) / 2;
    if (name.empty()) {
      add("\"\"");
    } else if (name.size() <= most_bytes) {
      add(name);
    } else {
      add(name.substr(0, half));
      add(left_out);
      add(name.substr(name.size() - half));
    }
  }

  [[nodiscard]] std::string_view view() const { return {text_.data(), bytes_}; }

  static constexpr std::size_t most_bytes = 160; // two fit into a line with what is said of them

 private:
  void add(std::string_view text) {
    for (const char letter : text) {
      const auto byte = static_cast<unsigned char>(letter);
      text_[bytes_++] = byte < 0x20 || byte == 0x7f ? '?' : letter;
    }
  }

  std::array<char, most_bytes> text_{};
  std::size_t bytes_ = 0;
};

} // namespace guest::linux
