// SPDX-License-Identifier: MIT
// Sets of signals as Linux has them. Numbers are from 1 to 64; signal n is bit n - 1.
#pragma once

#include <cstdint>

namespace guest::linux {

using SignalSet = std::uint64_t;
inline constexpr std::uint64_t last_signal = 64;
[[nodiscard]] constexpr SignalSet set_of(std::uint64_t signal) {
  return SignalSet{1} << (signal - 1);
}

} // namespace guest::linux
