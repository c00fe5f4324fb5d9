// SPDX-License-Identifier: MIT
// What a program says of itself that the guest only keeps and gives back (prctl, personality,
// sched_setscheduler...).
#pragma once

#include <cstdint>

namespace guest::linux {

struct Traits {
  static constexpr std::uint64_t default_timer_slack_ns = 50'000;

  std::uint64_t timer_slack_ns = default_timer_slack_ns;
  std::uint32_t personality = 0;
  std::int32_t parent_death_signal = 0;
  std::int32_t policy = 0;      // SCHED_OTHER
  std::int32_t io_priority = 0; // IOPRIO_CLASS_NONE
  std::uint64_t affinity = 0;   // vCPUs that it wants to be on; 0: all
  bool dumpable = true;
  bool no_new_rights = false;
  bool no_huge_pages = false;
  bool subreaper = false;
  bool registered_barrier = false;

  // Of another program from here on.
  void begin() {
    parent_death_signal = 0;
    dumpable = true;
    registered_barrier = false;
  }
};

} // namespace guest::linux
