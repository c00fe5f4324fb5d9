// SPDX-License-Identifier: MIT
#include "vmm/base/option_values.hpp"

#include <algorithm>
#include <charconv>

#include "vmm/base/units.hpp"

namespace vmm {

Result<std::uint64_t> number_within(std::string_view option, std::string_view text,
                                    std::uint64_t least, std::uint64_t most) {
  const auto value = parse_number(text);
  if (!value || *value < least || *value > most) {
    return user_error("{} {:?}: must be a whole number from {} to {}", option, text, least, most);
  }
  return *value;
}

Result<double> fraction_of_one(std::string_view option, std::string_view text) {
  // Digits and a point only: from_chars would take signs, exponents, "inf" and "nan", too.
  const bool plain = std::all_of(text.begin(), text.end(), [](char character) {
    return (character >= '0' && character <= '9') || character == '.';
  });
  double value = -1;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value, std::chars_format::fixed);
  if (!plain || error != std::errc{} || stop != end || value > 1) {
    return user_error("{} {:?}: must be a fraction from 0 to 1, such as 0.25", option, text);
  }
  return value;
}

std::string_view key_of(std::string_view key_value) {
  return key_value.substr(0, key_value.find('='));
}

} // namespace vmm
