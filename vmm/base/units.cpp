// SPDX-License-Identifier: MIT
#include "vmm/base/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/core.h>

namespace vmm {
namespace {

constexpr std::uint64_t ns_per_us = 1000;
constexpr std::uint64_t ns_per_ms = 1000 * ns_per_us;
constexpr std::uint64_t ns_per_s = 1000 * ns_per_ms;
constexpr std::uint64_t longest_duration_ns = std::uint64_t{24} * 3600 * ns_per_s;

bool is_digit(char character) {
  return character >= '0' && character <= '9';
}

// Splits leading digits off `text`.
std::string_view take_digits(std::string_view& text) {
  const auto* const end = std::find_if_not(text.begin(), text.end(), is_digit);
  const auto length = static_cast<std::size_t>(end - text.begin());
  const std::string_view digits = text.substr(0, length);
  text.remove_prefix(length);
  return digits;
}

std::optional<std::uint64_t> size_unit(std::string_view suffix) {
  if (suffix.empty()) {
    return 1;
  }
  if (suffix.size() != 1) {
    return std::nullopt;
  }
  switch (suffix.front()) {
  case 'k':
  case 'K':
    return kib;
  case 'm':
  case 'M':
    return mib;
  case 'g':
  case 'G':
    return gib;
  case 't':
  case 'T':
    return tib;
  default:
    return std::nullopt;
  }
}

std::optional<std::uint64_t> duration_unit_ns(std::string_view suffix) {
  if (suffix.empty() || suffix == "ms") {
    return ns_per_ms;
  }
  if (suffix == "us") {
    return ns_per_us;
  }
  if (suffix == "s") {
    return ns_per_s;
  }
  return std::nullopt;
}

// Three or four significant digits: 9.99, 99.9, 999.
std::string short_number(double value) {
  if (value < 9.995) {
    return fmt::format("{:.2f}", value);
  }
  return value < 99.95 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

std::optional<std::uint64_t> parse_digits(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

} // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  return parse_digits(text, 10);
}

std::optional<std::uint64_t> parse_number_or_hex(std::string_view text) {
  return text.starts_with("0x") ? parse_digits(text.substr(2), 16) : parse_number(text);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto number = parse_number(take_digits(text));
  const auto unit = size_unit(text);
  if (!number || !unit || *number > std::numeric_limits<std::uint64_t>::max() / *unit) {
    return std::nullopt;
  }
  return *number * *unit;
}

std::optional<std::uint64_t> parse_duration_ns(std::string_view text) {
  const auto whole = parse_number(take_digits(text));
  std::string_view fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    fraction = take_digits(text);
    if (fraction.empty()) {
      return std::nullopt;
    }
  }
  const auto unit = duration_unit_ns(text);
  if (!whole || !unit || *whole > longest_duration_ns / *unit) {
    return std::nullopt;
  }
  std::uint64_t result = *whole * *unit;
  // Exact in integers: each digit is worth a tenth of the one before it.
  std::uint64_t place = *unit;
  for (const char digit : fraction) {
    place /= 10;
    result += place * static_cast<std::uint64_t>(digit - '0');
  }
  return result <= longest_duration_ns ? std::optional(result) : std::nullopt;
}

std::string exact_size(std::uint64_t bytes) {
  constexpr std::array<std::pair<std::uint64_t, char>, 4> units{
      {{tib, 'T'}, {gib, 'G'}, {mib, 'M'}, {kib, 'K'}}};
  for (const auto& [unit, suffix] : units) {
    if (bytes != 0 && bytes % unit == 0) {
      return fmt::format("{}{}", bytes / unit, suffix);
    }
  }
  return fmt::format("{}", bytes);
}

std::string human_size(std::uint64_t bytes) {
  if (bytes < kib) {
    return fmt::format("{} B", bytes);
  }
  constexpr std::array<std::string_view, 6> names{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / static_cast<double>(kib);
  std::size_t unit = 0;
  // 1023.5 would round up to a four digit "1024".
  while (value >= 1023.5 && unit + 1 < names.size()) {
    value /= static_cast<double>(kib);
    ++unit;
  }
  return fmt::format("{} {}", short_number(value), names[unit]);
}

std::string human_duration(double seconds) {
  if (seconds >= 0.9995) {
    return fmt::format("{} s", short_number(seconds));
  }
  if (seconds >= 0.9995e-3) {
    return fmt::format("{} ms", short_number(seconds * 1e3));
  }
  if (seconds >= 0.9995e-6) {
    return fmt::format("{} us", short_number(seconds * 1e6));
  }
  return fmt::format("{:.0f} ns", seconds * 1e9);
}

std::string human_duration_ns(std::uint64_t ns) {
  return human_duration(static_cast<double>(ns) / 1e9);
}

std::string grouped(std::uint64_t value) {
  std::string text = fmt::format("{}", value);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

} // namespace vmm
