// SPDX-License-Identifier: MIT
// What can be tuned about reporting, at boot and while the guest runs.
#pragma once

#include <cstdint>

#include "shared/boot_info.hpp"

namespace guest::mm {

struct ReportSettings {
  abi::ReportPolicy policy{}; // values out of range are clamped by the Reporter
  // An answer that takes longer puts its batch into quarantine; 0: never times out.
  std::uint64_t timeout_ns = 0;
};

} // namespace guest::mm
