// SPDX-License-Identifier: MIT
// Quantities as people write and read them: sizes (512M, 2G) and durations (0.5, 250us, 2s).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmm {

inline constexpr std::uint64_t kib = std::uint64_t{1} << 10;
inline constexpr std::uint64_t mib = std::uint64_t{1} << 20;
inline constexpr std::uint64_t gib = std::uint64_t{1} << 30;
inline constexpr std::uint64_t tib = std::uint64_t{1} << 40;

// A whole decimal number with an optional suffix K, M, G or T (either case, powers of 1024).
// Empty when the text is anything else or does not fit 64 bits.
std::optional<std::uint64_t> parse_size(std::string_view text);

// A whole decimal number without sign. Empty when the text is anything else or exceeds 64 bits.
std::optional<std::uint64_t> parse_number(std::string_view text);

// The same, or hexadecimal digits behind "0x".
std::optional<std::uint64_t> parse_number_or_hex(std::string_view text);

// A decimal number, perhaps with a fraction, and an optional suffix us, ms or s; ms without one.
// Rounded down to nanoseconds. Empty when the text is anything else or longer than a day.
std::optional<std::uint64_t> parse_duration_ns(std::string_view text);

// The shortest exact form that parse_size reads back: 536870912 is "512M", 1000 is "1000".
std::string exact_size(std::uint64_t bytes);

// For tables: at most four digits and a unit, "1.50 GiB", "312 MiB", "0 B".
std::string human_size(std::uint64_t bytes);

// For tables: "12.4 s", "3.20 ms", "870 us", "15 ns".
std::string human_duration(double seconds);
std::string human_duration_ns(std::uint64_t ns);

// Digits in groups of three: "1,165,963".
std::string grouped(std::uint64_t value);

} // namespace vmm
