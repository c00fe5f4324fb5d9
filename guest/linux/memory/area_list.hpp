// SPDX-License-Identifier: MIT
// The addresses that a program has, what it may do with them, and what they show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "guest/linux/base/protection.hpp"
#include "guest/linux/memory/page_contents.hpp"

namespace guest::linux {

// [start, end), page aligned.
struct Area {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  Protection protection = protection_none;
  Content content{};       // at `start`
  std::uint32_t owner = 0; // the program that has it, by its Occupant's number

  // What of it lies in [from, to), which overlaps it.
  [[nodiscard]] Area part(std::uint64_t from, std::uint64_t to) const;
};

class AreaList {
 public:
  // Sorted and disjoint; neighbours that are alike are one.
  [[nodiscard]] const std::vector<Area>& all() const { return areas_; }
  // The index of the first area that ends behind an address; all().size() when there is none.
  [[nodiscard]] std::size_t first_ending_after(std::uint64_t address) const;
  // The area that an address lies in; null: none.
  [[nodiscard]] const Area* find(std::uint64_t address) const;
  [[nodiscard]] bool is_free(std::uint64_t start, std::uint64_t end) const;
  // The highest place in [lowest, highest) for so many bytes, so aligned (a power of two).
  [[nodiscard]] std::optional<std::uint64_t> highest_gap(std::uint64_t lowest,
                                                         std::uint64_t highest, std::uint64_t bytes,
                                                         std::uint64_t alignment) const;
  // The parts of [start, end) that areas have, or that none has, in order.
  [[nodiscard]] std::vector<Area> inside(std::uint64_t start, std::uint64_t end) const;
  [[nodiscard]] std::vector<Area> gaps(std::uint64_t start, std::uint64_t end) const;

  // Adds an area where there is none.
  void add(const Area& area);
  // Takes [start, end) out; parts of areas that reach beyond stay.
  void remove(std::uint64_t start, std::uint64_t end);

 private:
  void cut(std::uint64_t address);

  std::vector<Area> areas_;
};

} // namespace guest::linux
