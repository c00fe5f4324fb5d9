// SPDX-License-Identifier: MIT
// Files in RAM at its own addresses, where a program is linked to lie: the frames are there, and
// hidden from the processor until a touch loads what they show.
#pragma once

#include <cstdint>

#include "guest/linux/memory/area_list.hpp"
#include "guest/linux/memory/demand_pages.hpp"
#include "guest/linux/memory/page_contents.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace guest::linux {

// Areas lie in RAM and show a file.
class HiddenPages {
 public:
  // Both outlive this.
  HiddenPages(PageTables& tables, PageContents& contents) : tables_(tables), contents_(contents) {}

  // From now on a touch loads it. Its frames read as zero; leaves are cut at both ends.
  void hide(const Area& area) { tables_.hide(area.start, area.end); }
  // Nothing is hidden there any more, whatever it holds; it may be read and written to.
  void reveal(const Area& area) { tables_.reveal(area.start, area.end, read_write); }
  [[nodiscard]] bool is_hidden(std::uint64_t address) const { return tables_.is_hidden(address); }

  // Sees to it that the page at an address is there, and some around it.
  [[nodiscard]] Supply commit(const Area& area, std::uint64_t address);
  [[nodiscard]] Supply populate(const Area& area);
  // The page at an address is there as it is. False: no memory for a table.
  [[nodiscard]] bool give_up(const Area& area, std::uint64_t address);

 private:
  PageTables& tables_;
  PageContents& contents_;
};

} // namespace guest::linux
