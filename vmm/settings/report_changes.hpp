// SPDX-License-Identifier: MIT
// What became of a reporting policy while the guest ran.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/settings/report_settings.hpp"

namespace vmm {

struct ReportChange {
  std::uint64_t at_ns = 0; // monotonic clock
  ReportSettings settings; // in force from then on
};

struct ReportChanges {
  static constexpr std::size_t most_kept = 32;

  std::uint64_t count = 0;
  std::vector<ReportChange> last; // the latest of them, oldest first

  void add(const ReportChange& change) {
    ++count;
    if (last.size() == most_kept) {
      last.erase(last.begin());
    }
    last.push_back(change);
  }
};

} // namespace vmm
