// SPDX-License-Identifier: MIT
// Memory that comes when it is touched: frames from anywhere, put behind addresses above RAM, with
// what the area shows in them.
#pragma once

#include <cstdint>

#include "guest/linux/memory/area_list.hpp"
#include "guest/linux/memory/frames.hpp"
#include "guest/linux/memory/page_contents.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace guest::linux {

enum class Supply : std::uint8_t {
  there,
  out_of_memory,
  nothing_to_show, // behind the end of the file, or it cannot be read
};

class DemandPages {
 public:
  // All outlive this.
  DemandPages(Frames& frames, PageTables& tables, PageContents& contents)
      : frames_(frames), tables_(tables), contents_(contents) {}

  // Sees to it that there is memory behind the page at an address. What lies around it in the area
  // gets some as well: of files always, else as long as there is plenty.
  [[nodiscard]] Supply commit(const Area& area, std::uint64_t address);
  // The same in an area that shows a file's own frames: that page, so that the access is allowed.
  [[nodiscard]] Supply show(const Area& area, std::uint64_t address, Access access);
  // Behind all pages of an area, in as few pieces as can be; some of them may be there when it
  // fails.
  [[nodiscard]] Supply populate(const Area& area);

  // No file is shown any more: frames that were kept for them go back.
  void give_spare_back();

 private:
  [[nodiscard]] std::optional<abi::Pfn> take_for_file(std::uint64_t frames);
  // Behind the block of that size around an address, if it lies in the area and is empty there.
  [[nodiscard]] bool fits(const Area& area, std::uint64_t address, abi::Order order) const;
  [[nodiscard]] Supply put(const Area& area, std::uint64_t address, abi::Order order);
  // Takes away what the file does not reach to. `frames` hold what is at `from`.
  [[nodiscard]] Supply load(const Content& from, abi::Pfn first, std::uint64_t wanted,
                            std::uint64_t& frames);
  [[nodiscard]] abi::Order order_of_first_try(const Area& area) const;

  Frames& frames_;
  PageTables& tables_;
  PageContents& contents_;
  PageTables::FrameRun spare_; // taken for files, and not yet touched
};

} // namespace guest::linux
