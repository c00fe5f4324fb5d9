// SPDX-License-Identifier: MIT
// A system call: what is asked, what is answered, and which there are.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/linux/base/error_number.hpp"

namespace guest::linux {

// Arguments of a system call, in order.
using Args = std::array<std::uint64_t, 6>;
struct Call {
  std::uint64_t number = 0;
  Args args{};
  std::uint64_t stack = 0; // the caller's RSP
};
// The number of the first process, and of its first thread. 1 would be init's, which some programs
// take care to be.
inline constexpr std::int64_t process_id = 2;

// CLONE_CLEAR_SIGHAND of the kernel.
inline constexpr std::uint64_t clone_clear_handlers = std::uint64_t{1} << 32;

// What a call returns: at least 0 (addresses included), or a negative error number.
using Answer = std::int64_t;
// What a call returns within the kernel that waited in vain, for a signal: ERESTARTSYS of Linux.
inline constexpr Answer restart = -512;
template <typename T> [[nodiscard]] Answer answer_of(const Or<T>& result) {
  return result ? static_cast<Answer>(*result) : -Answer{result.error()};
}

// A system call that there is, and how far it goes where that is not all the way.
struct SupportedCall {
  std::string_view name;
  std::string_view how;
};
[[nodiscard]] std::span<const SupportedCall> supported_calls();

} // namespace guest::linux
