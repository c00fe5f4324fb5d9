// SPDX-License-Identifier: MIT
// What most sources read of the libraries, compiled once for each tree of objects (Makefile: PCH).
// Nobody includes this file: a source that needs one of these headers includes it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include <fmt/core.h>
