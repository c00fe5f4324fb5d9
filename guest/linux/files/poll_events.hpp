// SPDX-License-Identifier: MIT
// What poll and epoll call readiness: their bits are the same.
#pragma once

#include <poll.h>

#include <cstdint>

#include "guest/linux/files/file.hpp"

namespace guest::linux {

inline constexpr std::uint32_t poll_readable = POLLIN | POLLRDNORM;
inline constexpr std::uint32_t poll_writable = POLLOUT | POLLWRNORM;

// What is asked for by `events`.
[[nodiscard]] constexpr Readiness readiness_of(std::uint32_t events) {
  return ((events & poll_readable) != 0 ? abi::file_readable : 0U) |
         ((events & poll_writable) != 0 ? abi::file_writable : 0U) |
         ((events & POLLRDHUP) != 0 ? file_read_hung_up : 0U);
}

// What of `wanted` there is, and what is always told.
[[nodiscard]] constexpr std::uint32_t events_of(Readiness is, std::uint32_t wanted) {
  return ((is & abi::file_readable) != 0 ? wanted & poll_readable : 0U) |
         ((is & abi::file_writable) != 0 ? wanted & poll_writable : 0U) |
         ((is & file_read_hung_up) != 0 ? wanted & POLLRDHUP : 0U) |
         ((is & abi::file_hung_up) != 0 ? std::uint32_t{POLLHUP} : 0U) |
         ((is & file_failed) != 0 ? std::uint32_t{POLLERR} : 0U);
}

} // namespace guest::linux
