// SPDX-License-Identifier: MIT
// How an error of Linux travels: as its number (errno.h).
#pragma once

#include <expected>

namespace guest::linux {

template <typename T> using Or = std::expected<T, int>;

} // namespace guest::linux
