// SPDX-License-Identifier: MIT
// A time of day that stands still.
#pragma once

#include "guest/linux/base/real_time.hpp"

namespace test_support {

class SettableTime final : public guest::linux::RealTime {
 public:
  [[nodiscard]] std::int64_t realtime_ns() override { return now_ns; }

  std::int64_t now_ns = 0;
};

} // namespace test_support
