// SPDX-License-Identifier: MIT
// A program in an address space where others may be, too: what of it the address space keeps.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/memory/area_list.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace guest::linux {

struct Family;

struct Occupant {
  std::uint32_t number = 0; // of its areas
  std::uint64_t break_start = 0;
  std::uint64_t break_end = 0;

  // While another is in the window (AddressZones): what was there.
  std::vector<Area> window_areas{};
  std::vector<std::uint64_t> window_entries{}; // of the page tables

  // Those that have the same addresses; null: nobody does. While another of them has its own
  // content there: the areas, and the frames with what was in them, in order of the addresses.
  std::shared_ptr<Family> family{};
  std::vector<Area> kept_areas{};
  std::vector<MappedPage> kept_pages{};

  [[nodiscard]] bool has_kept_area(std::uint64_t address) const;
  [[nodiscard]] bool has_kept_page(std::uint64_t address) const;
};

// Programs that have the same addresses since one was forked from another: each with memory of its
// own, one of them at a time. Where one has given addresses up that another has still, nobody can
// be.
struct Family {
  std::vector<Occupant*> members;
  Occupant* inside = nullptr; // whose content is there; null: it is no more
  std::vector<Area> places;   // the addresses, sorted and disjoint
};

} // namespace guest::linux
