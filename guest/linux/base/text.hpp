// SPDX-License-Identifier: MIT
// Text of one's own: paths, names, what links say. (std::string wants a C++ library.)
#pragma once

#include <string_view>
#include <vector>

namespace guest::linux {

using Text = std::vector<char>;

[[nodiscard]] inline std::string_view view(const Text& text) {
  return {text.data(), text.size()};
}
[[nodiscard]] inline Text to_text(std::string_view from) {
  return {from.begin(), from.end()};
}
inline void append(Text& to, std::string_view more) {
  to.insert(to.end(), more.begin(), more.end());
}

// A path in the folder or in one below it, with both written in full.
[[nodiscard]] inline bool is_below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

} // namespace guest::linux
