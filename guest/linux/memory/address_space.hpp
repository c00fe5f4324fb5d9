// SPDX-License-Identifier: MIT
// A program's memory: which addresses it has, as mmap, munmap, mremap, mprotect, madvise, mincore
// and brk of Linux change it. What it gives up goes back to the page allocator at once, and from
// there to the host. Pure: frames, their content and the page tables are behind interfaces.
//
// A small mapping for reading and writing gets RAM at its own address, at once: no table is written
// and no fault taken. All else is addresses above RAM, and gets memory when it is touched: what is
// large, reservations, files, code, and what finds no place in RAM. Rights are kept by page tables;
// those of RAM are for reading and writing unless the program has asked for others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/protection.hpp"
#include "guest/linux/base/resolution.hpp"
#include "guest/linux/memory/address_zones.hpp"
#include "guest/linux/memory/area_list.hpp"
#include "guest/linux/memory/demand_pages.hpp"
#include "guest/linux/memory/frames.hpp"
#include "guest/linux/memory/hidden_pages.hpp"
#include "guest/linux/memory/occupant.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace guest::linux {

// What a new mapping is wanted for.
enum class Commitment : std::uint8_t {
  normal,
  none,    // MAP_NORESERVE: may be more than all memory
  at_once, // MAP_POPULATE: all of it will be touched
};

class AddressSpace {
 public:
  // All outlive this.
  AddressSpace(Frames& frames, PageTables& tables, AreaList& areas, PageContents& contents,
               const AddressZones& zones)
      : frames_(frames), tables_(tables), areas_(areas), contents_(contents), zones_(zones),
        demand_(frames, tables, contents), hidden_(tables, contents) {}

  // Several programs may be in it, each with areas of its own: those of others are no program's for
  // it. All below is of the one that was entered last; at first, of one that is nobody's.
  // An occupant outlives its stay. Its number is its own.
  void add(Occupant& occupant);
  // ENOMEM: no memory for tables; nothing is changed.
  [[nodiscard]] int enter(Occupant& occupant);
  // `child`, which has nothing and was not entered yet, has what the occupant has, at the same
  // addresses, with a content of its own but for what is shared; and it is the one that is entered
  // then, because it mostly runs first, and not for long. ENOMEM; nothing is changed then.
  [[nodiscard]] int fork(Occupant& child);
  // What it has goes back, and it is no more. Another is entered afterwards.
  void remove(Occupant& occupant, Occupant& next);
  [[nodiscard]] Occupant& occupant() const { return *here_; }

  // Any free place of `bytes`, showing `content`; at `hint`, page aligned, if that is free and
  // above RAM. Sizes are rounded up to pages. ENOMEM when there is none. With a content that is not
  // zero the commitment is none.
  [[nodiscard]] Or<std::uint64_t> map(std::uint64_t bytes, Protection protection,
                                      Commitment commitment = Commitment::normal,
                                      std::uint64_t hint = 0, const Content& content = {});
  // At that address, page aligned. What the program has there is replaced; ENOMEM when others have
  // it, and nothing is changed then. What is small and to be in RAM is loaded at once; when it
  // cannot be read, that is the error, and nothing is there afterwards.
  [[nodiscard]] Or<std::uint64_t> map_at(std::uint64_t address, std::uint64_t bytes,
                                         Protection protection, const Content& content = {});
  // The same, only where the program has nothing; EEXIST where it has.
  [[nodiscard]] Or<std::uint64_t> map_free(std::uint64_t address, std::uint64_t bytes,
                                           Protection protection, const Content& content = {});
  // Results are 0 or an error number.
  [[nodiscard]] int unmap(std::uint64_t address, std::uint64_t bytes);
  void unmap_all();
  [[nodiscard]] int protect(std::uint64_t address, std::uint64_t bytes, Protection protection);
  // What was written there is lost, and what was behind it goes back.
  [[nodiscard]] int discard(std::uint64_t address, std::uint64_t bytes);
  // Has memory there without waiting for a touch. EFAULT: there is nothing to show.
  [[nodiscard]] int populate(std::uint64_t address, std::uint64_t bytes);
  // The same with all that is mapped from files, as far as there is memory.
  void populate_files();
  // Grows or shrinks a mapping; moves it if it must and may, or to a certain address, where what
  // was is replaced.
  enum class Move : std::uint8_t { no, yes };
  [[nodiscard]] Or<std::uint64_t> remap(std::uint64_t address, std::uint64_t bytes,
                                        std::uint64_t new_bytes, Move move,
                                        std::optional<std::uint64_t> to = {});

  // If nothing shows that file any more, its contents are told.
  void forget_unless_shown(const Content& content);

  // Where the break starts, page aligned; once, before the program runs.
  void set_break(std::uint64_t start) { here_->break_start = here_->break_end = start; }
  // Where one above RAM can be that grows far.
  [[nodiscard]] std::uint64_t open_break(const Occupant& occupant) const;
  // Moves the break and returns where it is: unchanged when that is not possible.
  std::uint64_t move_break(std::uint64_t wanted);

  // For a page fault: has memory come if that is all that was missing.
  [[nodiscard]] Resolution resolve(std::uint64_t address, Access access);
  // The same for the guest's own code, which looks at what the program has: where there is nothing
  // to show, it finds zeroes.
  [[nodiscard]] Resolution resolve_for_guest(std::uint64_t address, Access access);
  // Where the host finds what the program has at an address, which has memory then, and how many
  // bytes behind it lie in a row, up to `bytes`. ENOMEM; EFAULT: there is nothing to show.
  // Addresses that are not the program's are the guest's own, which lies at its own addresses.
  struct Place {
    abi::Gpa gpa;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] Or<Place> place_of(std::uint64_t address, std::uint64_t bytes);

  // Whether the files that lie there reach so far; loads them. True where there are none.
  [[nodiscard]] bool shows(std::uint64_t address, std::uint64_t bytes);

  // Writes to the program's memory, whatever its rights are, and has the processor see it as code.
  void write(std::uint64_t address, std::span<const std::byte> from);

  // Whether the program has all of [address, address + bytes) with at least these rights.
  [[nodiscard]] bool allows(std::uint64_t address, std::uint64_t bytes, Protection rights) const;
  // Bytes from `address` on that are so, up to `bytes`.
  [[nodiscard]] std::uint64_t allowed_bytes(std::uint64_t address, std::uint64_t bytes,
                                            Protection rights) const;
  // Whether all memory would be enough for it: as by Linux's default, no single mapping that is to
  // be written to is larger, and none grows by more.
  [[nodiscard]] bool could_hold(std::uint64_t bytes) const {
    return bytes / abi::page_bytes <= frames_.count();
  }
  // Whether the program has any page of it.
  [[nodiscard]] bool has_any(std::uint64_t address, std::uint64_t bytes) const {
    return !areas_.is_free(address, address + bytes);
  }
  // Whether what lies there is a file's own.
  [[nodiscard]] bool is_shared(std::uint64_t address) const {
    return content_at(address).is_shared();
  }
  // What an address shows, offset and all; zero where the program has nothing.
  [[nodiscard]] Content content_at(std::uint64_t address) const {
    const Area* const area = own_area(address);
    return area == nullptr ? Content{} : area->content.at(address - area->start);
  }
  // Whether there is memory behind a page that the program has.
  [[nodiscard]] bool is_resident(std::uint64_t address) const;
  [[nodiscard]] std::uint64_t mapped_bytes() const;
  // Calls visit(content) for each part of [address, address + bytes) that shows a file's own
  // frames.
  template <typename Visit>
  void visit_shared(std::uint64_t address, std::uint64_t bytes, Visit visit) const {
    for (const Area& part : own_inside(address, address + bytes)) {
      if (part.content.is_shared()) {
        visit(part.content);
      }
    }
  }
  // Calls visit(start, end, protection) for each mapping, in order.
  template <typename Visit> void visit(Visit visit) const {
    for (const Area& area : areas_.all()) {
      if (is_own(area)) {
        visit(area.start, area.end, area.protection);
      }
    }
  }

 private:
  // Calls visit(zone, start, end) for the parts of [start, end).
  template <typename Visit>
  void for_each_zone(std::uint64_t start, std::uint64_t end, Visit visit) const {
    while (start < end) {
      const AddressZones::Part part = zones_.at(start);
      const std::uint64_t part_end = std::min(part.end, end);
      visit(part.zone, start, part_end);
      start = part_end;
    }
  }
  [[nodiscard]] bool is_own(const Area& area) const { return area.owner == here_->number; }
  // As AreaList::find() and inside(), of the occupant's areas.
  [[nodiscard]] const Area* own_area(std::uint64_t address) const;
  [[nodiscard]] std::vector<Area> own_inside(std::uint64_t start, std::uint64_t end) const;
  // Where nothing is.
  void add_own(Area area);
  // Family: address_space_families.cpp.
  static constexpr std::uint32_t nobodys = ~std::uint32_t{0}; // areas that nobody may have
  [[nodiscard]] int copy_pages(const std::vector<MappedPage>& from, std::vector<MappedPage>& to);
  [[nodiscard]] std::vector<MappedPage> private_pages(const std::vector<Area>& areas);
  [[nodiscard]] int fork_window(Occupant& child);
  void exchange_content(Family& family, Occupant& next);
  void keep_content(Family& family, Occupant& occupant);
  void bring_content(Family& family, Occupant& occupant);
  void leave_family(Occupant& occupant);
  // Of a part that is not in the list any more: the addresses are taken as long as another of the
  // family has them.
  void give_back_unless_shared(const Area& part);
  // Has what that one has in the window there. ENOMEM.
  [[nodiscard]] int take_window(Occupant& occupant);
  [[nodiscard]] bool may_be(std::uint64_t start, std::uint64_t end, Protection protection) const;
  [[nodiscard]] std::uint64_t choose_alignment(std::uint64_t bytes) const;

  [[nodiscard]] bool claim(const std::vector<Area>& parts);
  void give_back(const Area& part);
  // Above RAM: what is behind these addresses goes back to whom it belongs.
  void take_out(const Area& part, std::uint64_t start, std::uint64_t end);
  [[nodiscard]] bool cut(std::uint64_t address, Protection next);
  // Of so many bytes, to be taken away: leaves are cut at both ends. Where they end; EINVAL,
  // ENOMEM.
  [[nodiscard]] Or<std::uint64_t> cut_out(std::uint64_t address, std::uint64_t bytes);
  // What the page tables of a part of an area say; cut at its ends.
  void enforce(const Area& part, Protection protection);
  void fold(const Area& part);
  void renew(const Area& part);
  void free_rights(const Area& part);
  void forget_unless_shown(std::span<const Area> parts);
  [[nodiscard]] Supply supply_of(const Area& area, std::uint64_t address);
  [[nodiscard]] Or<Place> place_in_ram(std::uint64_t address, std::uint64_t bytes);
  // What of a part lies in RAM gets its content, now or when it is touched; 0, or why it cannot be
  // read.
  [[nodiscard]] int load(const Area& part);
  // The part of an area around an address that lies above RAM.
  [[nodiscard]] Area demanded(const Area& area, std::uint64_t address) const;
  [[nodiscard]] Or<std::uint64_t> move_to(const Area& from, std::uint64_t new_bytes,
                                          std::optional<std::uint64_t> to);

  Frames& frames_;
  PageTables& tables_;
  AreaList& areas_; // changed here alone
  PageContents& contents_;
  AddressZones zones_;
  DemandPages demand_;
  HiddenPages hidden_;
  Occupant nobody_;
  Occupant* here_ = &nobody_;
  Occupant* in_window_ = &nobody_; // whose areas there are in the list; those of others are kept
  std::vector<Occupant*> occupants_{&nobody_};
};

} // namespace guest::linux
