// SPDX-License-Identifier: MIT
#include "guest/linux/memory/area_list.hpp"

#include <algorithm>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

// Whether the two are one area.
bool continues(const Area& lower, const Area& upper) {
  return lower.end == upper.start && lower.protection == upper.protection &&
         lower.owner == upper.owner && lower.content.at(lower.end - lower.start) == upper.content;
}

} // namespace

Area Area::part(std::uint64_t from, std::uint64_t to) const {
  const std::uint64_t first = std::max(start, from);
  return {first, std::min(end, to), protection, content.at(first - start), owner};
}

std::size_t AreaList::first_ending_after(std::uint64_t address) const {
  const auto found = std::partition_point(
      areas_.begin(), areas_.end(), [address](const Area& area) { return area.end <= address; });
  return static_cast<std::size_t>(found - areas_.begin());
}

const Area* AreaList::find(std::uint64_t address) const {
  const std::size_t index = first_ending_after(address);
  return index < areas_.size() && areas_[index].start <= address ? &areas_[index] : nullptr;
}

bool AreaList::is_free(std::uint64_t start, std::uint64_t end) const {
  const std::size_t index = first_ending_after(start);
  return index == areas_.size() || areas_[index].start >= end;
}

std::optional<std::uint64_t> AreaList::highest_gap(std::uint64_t lowest, std::uint64_t highest,
                                                   std::uint64_t bytes,
                                                   std::uint64_t alignment) const {
  std::uint64_t top = highest;
  for (auto area = areas_.rbegin();; ++area) {
    const std::uint64_t bottom = area == areas_.rend() ? lowest : std::max(area->end, lowest);
    if (top > bottom && top - bottom >= bytes) {
      const std::uint64_t place = abi::align_down(top - bytes, alignment);
      if (place >= bottom) {
        return place;
      }
    }
    if (area == areas_.rend() || area->start <= lowest) {
      return std::nullopt;
    }
    top = std::min(top, area->start);
  }
}

std::vector<Area> AreaList::inside(std::uint64_t start, std::uint64_t end) const {
  std::vector<Area> parts;
  for (std::size_t index = first_ending_after(start);
       index < areas_.size() && areas_[index].start < end; ++index) {
    parts.push_back(areas_[index].part(start, end));
  }
  return parts;
}

std::vector<Area> AreaList::gaps(std::uint64_t start, std::uint64_t end) const {
  std::vector<Area> found;
  std::uint64_t position = start;
  for (std::size_t index = first_ending_after(start);
       index < areas_.size() && areas_[index].start < end; ++index) {
    if (areas_[index].start > position) {
      found.push_back({.start = position, .end = areas_[index].start});
    }
    position = areas_[index].end;
  }
  if (position < end) {
    found.push_back({.start = position, .end = end});
  }
  return found;
}

void AreaList::add(const Area& area) {
  std::size_t index = first_ending_after(area.start);
  if (index > 0 && continues(areas_[index - 1], area)) {
    --index;
    areas_[index].end = area.end;
  } else {
    areas_.insert(areas_.begin() + static_cast<std::ptrdiff_t>(index), area);
  }
  const std::size_t next = index + 1;
  if (next < areas_.size() && continues(areas_[index], areas_[next])) {
    areas_[index].end = areas_[next].end;
    areas_.erase(areas_.begin() + static_cast<std::ptrdiff_t>(next));
  }
}

void AreaList::cut(std::uint64_t address) {
  const std::size_t index = first_ending_after(address);
  if (index < areas_.size() && areas_[index].start < address) {
    const Area upper = areas_[index].part(address, areas_[index].end);
    areas_[index].end = address;
    areas_.insert(areas_.begin() + static_cast<std::ptrdiff_t>(index + 1), upper);
  }
}

void AreaList::remove(std::uint64_t start, std::uint64_t end) {
  cut(start);
  cut(end);
  const std::size_t first = first_ending_after(start);
  std::size_t last = first;
  while (last < areas_.size() && areas_[last].end <= end) {
    ++last;
  }
  areas_.erase(areas_.begin() + static_cast<std::ptrdiff_t>(first),
               areas_.begin() + static_cast<std::ptrdiff_t>(last));
}

} // namespace guest::linux
