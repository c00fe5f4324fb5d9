// SPDX-License-Identifier: MIT
// Forked programs in one address space. All of them have the same addresses, so what lies there
// changes hands when another of them goes on: above RAM frames do, by their page tables; in RAM,
// where an address is a frame, the bytes do. As on the machines of before there was paging, whose
// programs were swapped.
#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

namespace {

// Of one program: it is copied at once, and moved with each change.
constexpr std::size_t most_forked_pages = (std::size_t{256} << 20) / abi::page_bytes;
constexpr std::uint64_t frames_at_once = 64; // that are allocated in a row

std::vector<MappedPage>::const_iterator lower(const std::vector<MappedPage>& pages,
                                              std::uint64_t address) {
  return std::ranges::lower_bound(pages, address, {}, &MappedPage::address);
}

// The area of a sorted list that an address lies in; null: none.
const Area* area_at(const std::vector<Area>& areas, std::uint64_t address) {
  const auto behind = std::ranges::upper_bound(areas, address, {}, &Area::start);
  const Area* const area = behind == areas.begin() ? nullptr : &*(behind - 1);
  return area != nullptr && address < area->end ? area : nullptr;
}

// Both sorted and disjoint: the union of their addresses.
std::vector<Area> merged(const std::vector<Area>& some, const std::vector<Area>& others) {
  AreaList all;
  for (const Area& area : some) {
    all.add({.start = area.start, .end = area.end});
  }
  for (const Area& area : others) {
    for (const Area& gap : all.gaps(area.start, area.end)) {
      all.add(gap);
    }
  }
  return all.all();
}

std::vector<Area> without(const std::vector<Area>& some, const Area& other) {
  AreaList all;
  for (const Area& area : some) {
    all.add(area);
  }
  all.remove(other.start, other.end);
  return all.all();
}

} // namespace

bool Occupant::has_kept_area(std::uint64_t address) const {
  return area_at(kept_areas, address) != nullptr;
}

bool Occupant::has_kept_page(std::uint64_t address) const {
  const auto page = lower(kept_pages, address);
  return page != kept_pages.end() && page->address == address;
}

// ---- the beginning -----------------------------------------------------------------------------

// What has a content that is the occupant's alone, and is there.
std::vector<MappedPage> AddressSpace::private_pages(const std::vector<Area>& areas) {
  std::vector<MappedPage> pages;
  for (const Area& area : areas) {
    if (area.content.is_shared()) {
      continue;
    }
    for_each_zone(area.start, area.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      if (zone == Zone::open) {
        tables_.list(from, to, pages);
      } else if (zone == Zone::ram) {
        const Area part = area.part(from, to);
        if (!part.content.is_zero()) {
          static_cast<void>(hidden_.populate(part)); // what there is nothing of stays as it is
          hidden_.reveal(part);
          enforce({part.start, part.end, read_write, {}}, part.protection);
        }
        for (std::uint64_t at = from; at < to; at += abi::page_bytes) {
          pages.push_back({at, abi::to_pfn({at})});
        }
      }
    });
  }
  return pages;
}

int AddressSpace::copy_pages(const std::vector<MappedPage>& from, std::vector<MappedPage>& to) {
  to.reserve(from.size());
  for (std::size_t done = 0; done < from.size();) {
    std::uint64_t count = std::min<std::uint64_t>(from.size() - done, frames_at_once);
    auto first = frames_.allocate(count);
    if (!first) {
      count = 1;
      first = frames_.allocate(count);
    }
    if (!first) {
      for (const MappedPage& copy : std::exchange(to, {})) {
        frames_.release(copy.frame, 1);
      }
      return ENOMEM;
    }
    for (std::uint64_t index = 0; index < count; ++index, ++done) {
      const abi::Pfn frame = *first + index;
      frames_.copy(abi::to_gpa(frame).value, abi::to_gpa(from[done].frame).value, 1);
      to.push_back({from[done].address, frame});
    }
  }
  return 0;
}

int AddressSpace::fork(Occupant& child) {
  tables_.stop_others(); // or some of what they store meanwhile would be in the copy
  const AddressZones::Range& window = zones_.window;
  std::vector<Area> areas = own_inside(0, window.start);
  std::ranges::copy(own_inside(window.end, highest_address), std::back_inserter(areas));
  // All may be read while it is copied.
  const auto unreadable = [](const Area& area) { return (area.protection & PROT_READ) == 0; };
  const auto set_ram = [&](bool readable) {
    for (const Area& area : areas) {
      if (unreadable(area) && zones_.at(area.start).zone == Zone::ram) {
        enforce({area.start, area.end, readable ? area.protection : read_write, {}},
                readable ? read_write : area.protection);
      }
    }
  };
  set_ram(true);
  const std::vector<MappedPage> pages = private_pages(areas);
  std::vector<MappedPage> copies;
  int error = pages.size() > most_forked_pages ? ENOMEM : copy_pages(pages, copies);
  set_ram(false);
  error = error != 0 ? error : fork_window(child); // which changes nothing unless all is well
  if (error != 0) {
    for (const MappedPage& copy : copies) {
      frames_.release(copy.frame, 1);
    }
    return error;
  }
  if (here_->family == nullptr) {
    here_->family = std::shared_ptr<Family>(std::make_unique<Family>());
    here_->family->members.push_back(here_);
    here_->family->inside = here_;
  }
  // The copies are the parent's: what is there stays where it is, and need not be touched again.
  Occupant& parent = *here_;
  Family& family = *parent.family;
  family.places = merged(family.places, areas);
  family.members.push_back(&child);
  family.inside = &child;
  child.family = parent.family;
  child.break_start = parent.break_start;
  child.break_end = parent.break_end;
  for (const Area& area : areas) {
    areas_.remove(area.start, area.end);
    Area own = area;
    own.owner = child.number;
    areas_.add(own);
  }
  parent.kept_pages = std::move(copies);
  parent.kept_areas = std::move(areas);
  here_ = &child;
  return 0;
}

// The window is another's at each change, with all page tables there.
int AddressSpace::fork_window(Occupant& child) {
  const std::vector<Area> areas = own_inside(zones_.window.start, zones_.window.end);
  if (areas.empty()) {
    return 0;
  }
  std::vector<MappedPage> copies;
  Occupant& parent = *here_;
  if (int error = copy_pages(private_pages(areas), copies); error != 0) {
    return error;
  }
  int error = take_window(child);
  std::size_t done = 0;
  for (; error == 0 && done < copies.size(); ++done) {
    const Area* const area = area_at(areas, copies[done].address);
    error = tables_.map(copies[done].address, copies[done].frame, 1, area->protection) ? 0 : ENOMEM;
  }
  for (Area area : areas) {
    area.owner = child.number;
    areas_.add(area);
  }
  if (error != 0) {
    tables_.detach(zones_.window.start, zones_.window.end);
    areas_.remove(zones_.window.start, zones_.window.end);
    for (const MappedPage& copy : copies) {
      frames_.release(copy.frame, 1);
    }
  }
  [[maybe_unused]] const int back = take_window(parent);
  assert(back == 0); // its tables are there
  if (error != 0) {
    return error;
  }
  // As below: the copies become the parent's.
  std::swap(parent.window_areas, child.window_areas);
  std::swap(parent.window_entries, child.window_entries);
  for (Area& area : parent.window_areas) {
    area.owner = parent.number;
  }
  for (Area area : areas) {
    areas_.remove(area.start, area.end);
    area.owner = child.number;
    areas_.add(area);
  }
  in_window_ = &child;
  return 0;
}

// ---- changes -----------------------------------------------------------------------------------

void AddressSpace::exchange_content(Family& family, Occupant& next) {
  if (family.inside != nullptr) {
    keep_content(family, *family.inside);
  } else {
    for (const Area& place : family.places) {
      areas_.remove(place.start, place.end); // where nobody may be
    }
  }
  family.inside = nullptr;
  bring_content(family, next);
  family.inside = &next;
  tables_.flush();
  if (family.members.size() == 1) { // nobody else has what is there
    next.family = nullptr;
  }
}

// Frames above RAM and areas; what is in RAM stays until it is in the way.
void AddressSpace::keep_content(Family& family, Occupant& occupant) {
  for (const Area& place : family.places) {
    for (const Area& area : areas_.inside(place.start, place.end)) {
      if (area.owner != occupant.number) {
        continue;
      }
      occupant.kept_areas.push_back(area);
      for_each_zone(area.start, area.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
        if (zone == Zone::ram) {
          enforce(area.part(from, to), read_write);
        } else if (zone == Zone::open && area.content.is_shared()) {
          tables_.detach(from, to); // a touch asks for it again
        } else if (zone == Zone::open) {
          tables_.take(from, to, occupant.kept_pages);
        }
      });
    }
    areas_.remove(place.start, place.end);
  }
}

void AddressSpace::bring_content(Family& family, Occupant& occupant) {
  std::vector<std::pair<Occupant*, MappedPage>> displaced;
  // In RAM: whose bytes there are is who has the address, and has not kept them.
  const auto whose = [&](std::uint64_t address) -> Occupant* {
    const auto has = [&](const Occupant* member) {
      return member != &occupant && member->has_kept_area(address) &&
             !member->has_kept_page(address);
    };
    const auto found = std::ranges::find_if(family.members, has);
    return found == family.members.end() ? nullptr : *found;
  };
  static constexpr std::size_t chunk = 512;
  std::array<std::byte, chunk> bounce{};
  const std::vector<MappedPage> pages = std::exchange(occupant.kept_pages, {});
  const std::vector<Area> areas = std::exchange(occupant.kept_areas, {});
  for (const MappedPage& page : pages) {
    if (zones_.at(page.address).zone == Zone::open) {
      const Area* const area = area_at(areas, page.address);
      [[maybe_unused]] const bool done = tables_.map(page.address, page.frame, 1, area->protection);
      assert(done); // its tables are where they were
      continue;
    }
    const std::uint64_t kept = abi::to_gpa(page.frame).value;
    if (Occupant* const other = whose(page.address); other != nullptr) {
      for (std::uint64_t at = 0; at < abi::page_bytes; at += chunk) {
        auto* const here = reinterpret_cast<std::byte*>(page.address + at); // NOLINT
        auto* const there = reinterpret_cast<std::byte*>(kept + at);        // NOLINT
        std::memcpy(bounce.data(), here, chunk);
        std::memcpy(here, there, chunk);
        std::memcpy(there, bounce.data(), chunk);
      }
      displaced.emplace_back(other, page);
    } else {
      frames_.copy(page.address, kept, 1);
      frames_.release(page.frame, 1);
    }
  }
  for (const auto& [other, page] : displaced) {
    other->kept_pages.push_back(page);
  }
  for (Occupant* const member : family.members) {
    std::ranges::sort(member->kept_pages, {}, &MappedPage::address);
  }
  for (const Area& area : areas) {
    areas_.add(area);
    for_each_zone(area.start, area.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      if (zone == Zone::ram && area.protection != read_write) {
        static_cast<void>(tables_.cut(from) && tables_.cut(to)); // or it has more rights
        enforce({from, to, read_write, {}}, area.protection);
      }
    });
  }
  if (family.members.size() > 1) {
    for (const Area& place : family.places) {
      for (Area gap : areas_.gaps(place.start, place.end)) {
        gap.owner = nobodys;
        areas_.add(gap);
      }
    }
  }
}

// ---- the end -----------------------------------------------------------------------------------

void AddressSpace::give_back_unless_shared(const Area& part) {
  AreaList shared;
  const std::vector<Occupant*> members =
      here_->family == nullptr ? std::vector<Occupant*>{} : here_->family->members;
  for (const Occupant* const member : members) {
    for (const Area& area : member->kept_areas) {
      const std::uint64_t start = std::max(area.start, part.start);
      const std::uint64_t end = std::min(area.end, part.end);
      for (const Area& gap : shared.gaps(start, std::max(start, end))) {
        shared.add({.start = gap.start, .end = gap.end, .owner = nobodys});
      }
    }
  }
  for (const Area& other : shared.all()) {
    for_each_zone(other.start, other.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      if (zone == Zone::open) {
        take_out(part, from, to); // it is this one's content alone
      }
    });
    areas_.add(other);
  }
  for (const Area& gap : shared.gaps(part.start, part.end)) {
    give_back(part.part(gap.start, gap.end));
    if (here_->family != nullptr) {
      here_->family->places = without(here_->family->places, gap); // anybody may be there now
    }
  }
}

// It has nothing any more.
void AddressSpace::leave_family(Occupant& occupant) {
  const std::shared_ptr<Family> family = std::exchange(occupant.family, nullptr);
  if (family != nullptr) {
    std::erase(family->members, &occupant);
    family->inside = nullptr;
  }
}

} // namespace guest::linux
