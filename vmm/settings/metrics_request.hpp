// SPDX-License-Identifier: MIT
// Where metrics go: --metrics FILE or --metrics unix:PATH.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/result.hpp"

namespace vmm {

enum class MetricsForm : std::uint8_t {
  file,   // Prometheus' text, put in place as a whole each time
  lines,  // a line of JSON more each time: a name that ends in .jsonl
  socket, // Prometheus' text, once to each client
};

struct MetricsRequest {
  MetricsForm form = MetricsForm::file;
  std::string path;
};

// All errors are user errors.
[[nodiscard]] Result<MetricsRequest> parse_metrics_request(std::string_view text);

} // namespace vmm
