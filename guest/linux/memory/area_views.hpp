// SPDX-License-Identifier: MIT
// Takes pages of files that are shared out of the memory that shows them. What the program has
// there stays: the next touch asks for the page again.
#pragma once

#include <algorithm>

#include "guest/linux/memory/area_list.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace guest::linux {

class AreaViews {
 public:
  // Both outlive this.
  AreaViews(const AreaList& areas, PageTables& tables) : areas_(areas), tables_(tables) {}

  // Whether there are any.
  [[nodiscard]] bool any(std::uint32_t file) const {
    return std::ranges::any_of(areas_.all(), [file](const Area& area) {
      return area.content.is_shared() && area.content.file == file;
    });
  }
  // Bytes [start, end) of the file of that number; `end` is a multiple of a page, or the highest.
  void hide(std::uint32_t file, std::uint64_t start, std::uint64_t end) {
    for (const Area& area : areas_.all()) {
      if (!area.content.is_shared() || area.content.file != file || area.content.offset >= end) {
        continue;
      }
      const std::uint64_t skipped = start - std::min(start, area.content.offset);
      const std::uint64_t shown = std::min(area.end - area.start, end - area.content.offset);
      if (skipped < shown) {
        tables_.detach(area.start + skipped, area.start + shown);
      }
    }
  }

 private:
  const AreaList& areas_;
  PageTables& tables_;
};

} // namespace guest::linux
