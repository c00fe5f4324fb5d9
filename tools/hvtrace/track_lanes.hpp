// SPDX-License-Identifier: MIT
// Slices that overlap in time, spread over as many tracks as it takes for none of those of one
// track to overlap. Every viewer pairs beginnings and ends track by track: on one track for all, an
// end would close whichever slice began last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace hvtrace {

class TrackLanes {
 public:
  // More at once, and times that run backwards all the time, are damage.
  static constexpr std::size_t most = 256;
  static constexpr std::uint64_t open_end = std::numeric_limits<std::uint64_t>::max();

  // The first lane on which [begin_ns, end_ns] lies behind all that was placed there; slices may
  // touch. Empty when there is none and there are `most` already.
  std::optional<std::uint32_t> place(std::uint64_t begin_ns, std::uint64_t end_ns) {
    for (std::size_t lane = 0; lane < ends_ns_.size(); ++lane) {
      if (ends_ns_[lane] <= begin_ns) {
        ends_ns_[lane] = end_ns;
        return static_cast<std::uint32_t>(lane);
      }
    }
    if (ends_ns_.size() == most) {
      return std::nullopt;
    }
    ends_ns_.push_back(end_ns);
    return static_cast<std::uint32_t>(ends_ns_.size() - 1);
  }

 private:
  std::vector<std::uint64_t> ends_ns_; // of the latest slice, by lane
};

} // namespace hvtrace
