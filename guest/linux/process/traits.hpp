// SPDX-License-Identifier: MIT
// What a program says of itself that the guest only keeps and gives back (prctl, personality,
// sched_setscheduler...).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace guest::linux {

struct Traits {
  static constexpr std::size_t name_bytes = 16; // with a NUL
  static constexpr std::uint64_t default_timer_slack_ns = 50'000;

  std::array<char, name_bytes> name{};
  std::uint64_t timer_slack_ns = default_timer_slack_ns;
  std::uint32_t personality = 0;
  std::int32_t parent_death_signal = 0;
  std::int32_t policy = 0;      // SCHED_OTHER
  std::int32_t io_priority = 0; // IOPRIO_CLASS_NONE
  bool dumpable = true;
  bool no_new_rights = false;
  bool no_huge_pages = false;
  bool subreaper = false;
  bool registered_barrier = false;

  // Of the program at `path` from here on.
  void begin(std::string_view path) {
    const std::string_view base = path.substr(path.rfind('/') + 1); // npos + 1 is 0
    name = {};
    std::ranges::copy(base.substr(0, name_bytes - 1), name.begin());
    parent_death_signal = 0;
    dumpable = true;
    registered_barrier = false;
  }
};

} // namespace guest::linux
