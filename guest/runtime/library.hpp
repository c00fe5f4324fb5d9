// SPDX-License-Identifier: MIT
// What most of the guest's sources read of the libraries, compiled once (Makefile: PCH). Nobody
// includes this file: a source that needs one of these headers includes it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "guest/runtime/fmt_config.hpp"
