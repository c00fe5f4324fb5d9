// SPDX-License-Identifier: MIT
// Times as programs pass them, in ns.
#pragma once

#include <sys/time.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/files/file.hpp"

namespace guest::linux {

inline constexpr std::uint64_t ns_per_second = 1'000'000'000;
inline constexpr std::uint64_t ns_per_ms = 1'000'000;
inline constexpr std::uint64_t ns_per_us = 1'000;
// For times that may lie before their epoch.
inline constexpr std::int64_t signed_ns_per_second = 1'000'000'000;
inline constexpr std::int64_t signed_ns_per_us = 1'000;

// No time-out of a call is longer.
inline constexpr std::uint64_t most_timeout_seconds = std::uint64_t{1} << 32;

// At most centuries.
[[nodiscard]] constexpr std::uint64_t to_ns(std::int64_t seconds, std::uint64_t ns) {
  constexpr std::uint64_t most_ns = std::uint64_t{1} << 62;
  const auto whole = static_cast<std::uint64_t>(seconds);
  return whole >= most_ns / ns_per_second ? most_ns : whole * ns_per_second + ns;
}

[[nodiscard]] constexpr timeval to_timeval(std::uint64_t ns) {
  return {.tv_sec = static_cast<time_t>(ns / ns_per_second),
          .tv_usec = static_cast<suseconds_t>(ns % ns_per_second / ns_per_us)};
}

[[nodiscard]] constexpr timespec to_timespec(std::uint64_t ns) {
  return {.tv_sec = static_cast<time_t>(ns / ns_per_second),
          .tv_nsec = static_cast<long>(ns % ns_per_second)};
}

// EINVAL.
[[nodiscard]] constexpr Or<std::uint64_t> ns_of(const timeval& time) {
  if (time.tv_sec < 0 || time.tv_usec < 0 || time.tv_usec >= 1'000'000) {
    return std::unexpected(EINVAL);
  }
  return to_ns(time.tv_sec, static_cast<std::uint64_t>(time.tv_usec) * ns_per_us);
}

[[nodiscard]] constexpr Or<std::uint64_t> ns_of(const timespec& time) {
  if (time.tv_sec < 0 || time.tv_nsec < 0 ||
      static_cast<std::uint64_t>(time.tv_nsec) >= ns_per_second) {
    return std::unexpected(EINVAL);
  }
  return to_ns(time.tv_sec, static_cast<std::uint64_t>(time.tv_nsec));
}

// Milliseconds as an int; less than 0 is for ever.
[[nodiscard]] constexpr std::uint64_t timeout_of_ms(std::uint64_t argument) {
  const auto ms = static_cast<std::int32_t>(argument);
  return ms < 0 ? wait_for_ever : static_cast<std::uint64_t>(ms) * ns_per_ms;
}

} // namespace guest::linux
