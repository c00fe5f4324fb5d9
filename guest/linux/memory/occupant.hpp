// SPDX-License-Identifier: MIT
// A program in an address space where others may be, too: what of it the address space keeps.
#pragma once

#include <cstdint>
#include <vector>

#include "guest/linux/memory/area_list.hpp"

namespace guest::linux {

struct Occupant {
  std::uint32_t number = 0; // of its areas
  std::uint64_t break_start = 0;
  std::uint64_t break_end = 0;

  // While another is in the window (AddressZones): what was there.
  std::vector<Area> window_areas{};
  std::vector<std::uint64_t> window_entries{}; // of the page tables
};

} // namespace guest::linux
