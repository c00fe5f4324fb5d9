// SPDX-License-Identifier: MIT
// The time of day.
#pragma once

#include <cstdint>

namespace guest::linux {

class RealTime {
 public:
  [[nodiscard]] virtual std::int64_t realtime_ns() = 0; // since 1970, UTC

 protected:
  RealTime() = default;
  ~RealTime() = default;
};

} // namespace guest::linux
