// SPDX-License-Identifier: MIT
// Values of options as text: what several parsers of vmm share. Every error is of class user and
// one line that names the option and shows the text escaped.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/base/result.hpp"

namespace vmm {

template <typename T> using Choices = std::span<const std::pair<std::string_view, T>>;

template <typename T>
Result<T> choose(std::string_view option, std::string_view text, Choices<T> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (name == text) {
      return value;
    }
    names += names.empty() ? "" : ", ";
    names += name;
  }
  return user_error("{} {:?}: not one of {}", option, text, names);
}

// A whole number in [least, most].
Result<std::uint64_t> number_within(std::string_view option, std::string_view text,
                                    std::uint64_t least, std::uint64_t most);

// A decimal fraction from 0 to 1, such as 0.25.
Result<double> fraction_of_one(std::string_view option, std::string_view text);

// The key of "key=value"; all of the text when there is no '='.
std::string_view key_of(std::string_view key_value);

// Calls `take(item)` for each part of a comma-separated list; it returns a Result with the item's
// key. A key that comes twice is an error, as is whatever `take` objects to. An empty text is one
// empty item.
template <typename Take>
Result<void> for_each_item(std::string_view option, std::string_view text, Take take) {
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    EBB_TRY(take(item));
    const std::string_view key = key_of(item);
    if (comma == std::string_view::npos) {
      return {};
    }
    rest.remove_prefix(comma + 1);
    for (std::string_view later = rest;;) {
      const std::size_t next = later.find(',');
      if (key_of(later.substr(0, next)) == key) {
        return user_error("{} {}: given twice; give it once", option, key);
      }
      if (next == std::string_view::npos) {
        break;
      }
      later.remove_prefix(next + 1);
    }
  }
}

} // namespace vmm
