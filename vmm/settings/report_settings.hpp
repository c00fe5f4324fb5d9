// SPDX-License-Identifier: MIT
// The reporting policy as a user writes it: on the command line and, while the guest runs, over the
// control socket.
#pragma once

#include <cstdint>
#include <string_view>

#include "shared/boot_info.hpp"
#include "vmm/base/json.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

struct ReportSettings {
  abi::ReportPolicy policy;
  std::uint64_t timeout_ns = 0; // answers that take longer are given up on; 0: never
  bool automatic = false;       // the host chooses all but keep and timeout
};

// order=auto leaves order, batch, strategy and delay to the host, until an order is given.
//
// "off", or any of order=, batch=, keep=, delay=, timeout=, strategy= by commas, each at most once:
// `base` with these changed. "off" changes nothing but that. User errors begin with `option`.
Result<ReportSettings> parse_report_settings(std::string_view option, std::string_view text,
                                             const ReportSettings& base = {});

// By the names that statistics and the control socket have for them; times in ns.
[[nodiscard]] Json to_json(const ReportSettings& settings);

// As on the command line.
std::string_view name_of(abi::ReportStrategy strategy);

} // namespace vmm
