// SPDX-License-Identifier: MIT
// Where the kernel tells that memory is short: pressure stall information (PSI) of the host and of
// this process's cgroup, and that cgroup's memory.high events. Opened before rights are given up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

// A file that poll() tells news of.
struct PressureFile {
  enum class Kind : std::uint8_t {
    trigger, // news are pressure; with POLLERR that it is gone
    events,  // news are pressure if the number behind "high" has grown; with POLLERR always
  };

  UniqueFd fd;
  Kind kind = Kind::trigger;
  short news = 0;              // POLLPRI
  std::uint64_t high_seen = 0; // of events

  enum class News : std::uint8_t { none, pressure, gone };
  // What poll()'s `happened` means. A file whose cgroup is gone would have news for ever.
  [[nodiscard]] News take(short happened);
};

// All that there are here. Environment error, which says why, when there is none.
[[nodiscard]] Result<std::vector<PressureFile>> open_pressure_files();

// The number behind "high" in a memory.events; empty: none. Pure, as the next.
[[nodiscard]] std::optional<std::uint64_t> high_events(std::string_view text);
// This process's folder of the unified hierarchy, from /proc/self/cgroup and /proc/self/mounts;
// empty where there is none.
[[nodiscard]] std::string own_cgroup(std::string_view cgroup, std::string_view mounts);

} // namespace vmm
