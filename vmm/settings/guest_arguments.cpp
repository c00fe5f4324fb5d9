// SPDX-License-Identifier: MIT
#include "vmm/settings/guest_arguments.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/option_values.hpp"

namespace vmm {
namespace {

// Keys of BootInfo::args that options of their own set.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> reserved_keys{
    {{"workload", "--workload"}, {"speed", "--speed"}}};

bool is_key_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9') ||
         character == '_' || character == '-';
}

} // namespace

Result<void> check_guest_argument(std::string_view option, std::string_view text,
                                  std::span<const std::string> earlier) {
  const std::string_view key = key_of(text);
  if (key.size() == text.size() || key.empty() || key.size() + 1 == text.size()) {
    return user_error("{} {:?}: must be KEY=VALUE, such as size=1G", option, text);
  }
  if (!std::ranges::all_of(key, is_key_character)) {
    return user_error("{} {:?}: a key has only a-z, 0-9, _ and -", option, text);
  }
  for (const auto& [reserved, own_option] : reserved_keys) {
    if (key == reserved) {
      return user_error("{} {:?}: use {} instead", option, text, own_option);
    }
  }
  if (std::ranges::any_of(earlier,
                          [key](const std::string& other) { return key_of(other) == key; })) {
    return user_error("{} {:?}: the key {} is given twice", option, text, key);
  }
  return {};
}

std::string encode_guest_args(const Config& config) {
  std::string encoded;
  const auto append = [&encoded](std::string_view key_value) {
    encoded += key_value;
    encoded += '\0';
  };
  append("workload=" + config.workload);
  if (config.speed) { // else the workload may not know of speeds
    append(*config.speed == Speed::real ? "speed=real" : "speed=max");
  }
  for (const std::string& arg : config.guest_args) {
    append(arg);
  }
  return encoded;
}

} // namespace vmm
