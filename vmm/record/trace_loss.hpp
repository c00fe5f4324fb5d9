// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace vmm {

// What became of the records of a trace, and why some are missing.
struct TraceLoss {
  std::uint64_t kept_records = 0;
  std::uint64_t lost_records = 0;
  std::string why; // empty: nothing is missing
};

} // namespace vmm
