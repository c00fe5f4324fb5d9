// SPDX-License-Identifier: MIT
#include "vmm/settings/metrics_request.hpp"

namespace vmm {

Result<MetricsRequest> parse_metrics_request(std::string_view text) {
  constexpr std::string_view unix_prefix = "unix:";
  if (!text.starts_with(unix_prefix)) {
    const bool lines = text.ends_with(".jsonl");
    return MetricsRequest{lines ? MetricsForm::lines : MetricsForm::file, std::string(text)};
  }
  text.remove_prefix(unix_prefix.size());
  if (text.empty()) {
    return user_error("--metrics unix:: the path is empty");
  }
  return MetricsRequest{MetricsForm::socket, std::string(text)};
}

} // namespace vmm
