// SPDX-License-Identifier: MIT
#include "guest/linux/memory/address_space.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <utility>

#include "guest/linux/memory/address_range.hpp"

namespace guest::linux {

namespace {

// More than that is not taken at once.
constexpr std::uint64_t most_at_once = abi::Order{abi::max_order}.bytes();
// Of a file in RAM: a fault costs more.
constexpr std::uint64_t loaded_at_once_bytes = std::uint64_t{64} << 10;

abi::Pfn frame_of(std::uint64_t address) {
  return abi::to_pfn({address});
}

// Why [address, address + bytes) can be no mapping.
int fault_of_range(std::uint64_t address, std::uint64_t bytes) {
  return address % abi::page_bytes != 0 || bytes == 0 ? EINVAL : ENOMEM;
}

} // namespace

// ---- who is there ------------------------------------------------------------------------------

const Area* AddressSpace::own_area(std::uint64_t address) const {
  const Area* const area = areas_.find(address);
  return area != nullptr && is_own(*area) ? area : nullptr;
}

std::vector<Area> AddressSpace::own_inside(std::uint64_t start, std::uint64_t end) const {
  std::vector<Area> parts = areas_.inside(start, end);
  std::erase_if(parts, [this](const Area& part) { return !is_own(part); });
  return parts;
}

void AddressSpace::add_own(Area area) {
  area.owner = here_->number;
  areas_.add(area);
}

void AddressSpace::add(Occupant& occupant) {
  occupants_.push_back(&occupant);
}

// The window changes hands when it must: who has nothing there does not mind who has.
int AddressSpace::enter(Occupant& occupant) {
  if (occupant.family != nullptr && occupant.family->inside != &occupant) {
    exchange_content(*occupant.family, occupant);
  }
  if (!occupant.window_areas.empty()) {
    if (const int error = take_window(occupant); error != 0) {
      return error;
    }
  }
  here_ = &occupant;
  return 0;
}

int AddressSpace::take_window(Occupant& occupant) {
  if (&occupant == in_window_) {
    return 0;
  }
  const auto [start, end] = zones_.window;
  // Where one has nothing yet, what is kept of it is nothing, too.
  if (!tables_.exchange(start, end, occupant.window_entries)) {
    return ENOMEM;
  }
  in_window_->window_entries = std::exchange(occupant.window_entries, {});
  in_window_->window_areas = areas_.inside(start, end);
  areas_.remove(start, end);
  for (const Area& area : std::exchange(occupant.window_areas, {})) {
    areas_.add(area);
  }
  in_window_ = &occupant;
  return 0;
}

void AddressSpace::remove(Occupant& occupant, Occupant& next) {
  [[maybe_unused]] int error = enter(occupant);
  assert(error == 0); // what is kept had tables
  unmap_all();
  leave_family(occupant);
  if (in_window_ == &occupant) {
    in_window_ = &nobody_; // who has nothing there, either
  }
  error = enter(&next == &occupant ? nobody_ : next);
  assert(error == 0);
  std::erase(occupants_, &occupant);
}

// ---- where it can be ---------------------------------------------------------------------------

// Where nothing can be, addresses may still be reserved. What others have cannot be replaced.
bool AddressSpace::may_be(std::uint64_t start, std::uint64_t end, Protection protection) const {
  const std::vector<Area> before = areas_.inside(start, end);
  bool possible = std::ranges::all_of(before, [this](const Area& area) { return is_own(area); });
  for_each_zone(start, end, [&](Zone zone, std::uint64_t, std::uint64_t) {
    possible = possible && (zone != Zone::closed || protection == protection_none);
  });
  return possible;
}

// Such that blocks of frames fit, and moves keep 2 MiB together.
std::uint64_t AddressSpace::choose_alignment(std::uint64_t bytes) const {
  return std::min(std::bit_ceil(bytes), abi::huge_page_bytes);
}

// ---- what is behind addresses ------------------------------------------------------------------

// Takes RAM that lies there, all or none.
bool AddressSpace::claim(const std::vector<Area>& parts) {
  for (std::size_t index = 0; index < parts.size(); ++index) {
    std::uint64_t done = parts[index].start;
    bool complete = true;
    for_each_zone(parts[index].start, parts[index].end,
                  [&](Zone zone, std::uint64_t start, std::uint64_t end) {
                    complete = complete &&
                               (zone != Zone::ram ||
                                frames_.claim(frame_of(start), (end - start) / abi::page_bytes));
                    done = complete ? end : done;
                  });
    if (!complete) {
      give_back({.start = parts[index].start, .end = done});
      while (index-- > 0) {
        give_back(parts[index]);
      }
      return false;
    }
  }
  return true;
}

void AddressSpace::take_out(const Area& part, std::uint64_t start, std::uint64_t end) {
  if (part.content.is_shared()) {
    tables_.detach(start, end);
  } else {
    tables_.unmap(start, end, frames_);
  }
}

void AddressSpace::give_back(const Area& part) {
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
    if (zone == Zone::ram) {
      frames_.release(frame_of(from), (to - from) / abi::page_bytes);
    } else if (zone == Zone::open) {
      take_out(part, from, to);
    }
  });
}

// RAM stays in its large leaves as long as nobody wants other rights than most have.
bool AddressSpace::cut(std::uint64_t address, Protection next) {
  const Area* const area = areas_.find(address);
  const bool is_plain =
      next == read_write &&
      (area == nullptr || (area->protection == read_write && area->content.is_zero()));
  const Zone zone = zones_.at(address).zone;
  return zone == Zone::closed || (zone == Zone::ram && is_plain) || tables_.cut(address);
}

void AddressSpace::enforce(const Area& part, Protection protection) {
  if (part.protection == protection) {
    return;
  }
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t start, std::uint64_t end) {
    if (zone != Zone::closed) {
      tables_.protect(start, end, protection);
    }
  });
}

// Where RAM has the rights again that most of it has, its large leaves come back.
void AddressSpace::fold(const Area& part) {
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t start, std::uint64_t end) {
    if (zone == Zone::ram && (part.protection != read_write || !part.content.is_zero())) {
      tables_.fold(start, end);
    }
  });
}

// RAM has the rights then that others expect of it.
void AddressSpace::free_rights(const Area& part) {
  if (!part.content.is_zero()) {
    hidden_.reveal(part);
  }
  enforce(part, read_write);
}

// The content is lost; what had no place of its own goes back.
void AddressSpace::renew(const Area& part) {
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
    if (zone == Zone::ram) {
      free_rights(part.part(from, to));
      frames_.renew(frame_of(from), (to - from) / abi::page_bytes);
    } else if (zone == Zone::open) {
      take_out(part, from, to);
    }
  });
}

// What is small is loaded at once; its rights are for reading and writing meanwhile.
int AddressSpace::load(const Area& part) {
  int error = 0;
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
    const Area inside = part.part(from, to);
    if (zone != Zone::ram || inside.content.is_zero() || error != 0) {
      return;
    }
    if (to - from > loaded_at_once_bytes) {
      hidden_.hide(inside);
    } else {
      tables_.stop_others();
      const Or<std::uint64_t> bytes =
          contents_.load(inside.content, frame_of(from), (to - from) / abi::page_bytes);
      error = bytes ? 0 : bytes.error();
    }
  });
  return error;
}

// Each file once, however many parts have shown it.
void AddressSpace::forget_unless_shown(std::span<const Area> parts) {
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    const auto shows_it = [&](const Area& other) {
      return other.content.file == part->content.file;
    };
    if (std::none_of(parts.begin(), part, shows_it)) {
      forget_unless_shown(part->content);
    }
  }
}

void AddressSpace::forget_unless_shown(const Content& content) {
  const auto shows_it = [&](const Area& area) { return area.content.file == content.file; };
  const auto has_it_kept = [&](const Occupant* occupant) {
    return std::ranges::any_of(occupant->window_areas, shows_it) ||
           std::ranges::any_of(occupant->kept_areas, shows_it);
  };
  if (!content.is_zero() && std::ranges::none_of(areas_.all(), shows_it) &&
      std::ranges::none_of(occupants_, has_it_kept)) {
    contents_.forget(content.file);
    demand_.give_spare_back();
  }
}

Area AddressSpace::demanded(const Area& area, std::uint64_t address) const {
  return area.part(zones_.open_start_below(address), zones_.at(address).end);
}

// ---- mapping -----------------------------------------------------------------------------------

Or<std::uint64_t> AddressSpace::map(std::uint64_t bytes, Protection protection,
                                    Commitment commitment, std::uint64_t hint,
                                    const Content& content) {
  const std::uint64_t whole = in_pages(bytes);
  if (bytes == 0) {
    return std::unexpected(EINVAL);
  }
  const bool is_promise =
      commitment != Commitment::none && (protection & PROT_WRITE) != 0 && content.is_zero();
  if (whole == 0 || (is_promise && !could_hold(whole))) {
    return std::unexpected(ENOMEM);
  }
  if (is_range(hint, whole) && hint >= zones_.open_start() && zones_.at(hint).zone == Zone::open &&
      zones_.at(hint).end - hint >= whole && areas_.is_free(hint, hint + whole)) {
    add_own({hint, hint + whole, protection, content});
    return hint;
  }
  if (protection == read_write && is_promise &&
      (whole <= most_at_once || commitment == Commitment::at_once)) {
    if (const auto first = frames_.allocate(whole / abi::page_bytes)) {
      const std::uint64_t address = abi::to_gpa(*first).value;
      add_own({address, address + whole, protection, {}});
      return address;
    }
  }
  const auto place =
      areas_.highest_gap(zones_.open_start(), zones_.open_end, whole, choose_alignment(whole));
  if (!place) {
    return std::unexpected(ENOMEM);
  }
  add_own({*place, *place + whole, protection, content});
  return *place;
}

Or<std::uint64_t> AddressSpace::map_free(std::uint64_t address, std::uint64_t bytes,
                                         Protection protection, const Content& content) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, bytes) || !is_range(address, whole)) {
    return std::unexpected(fault_of_range(address, bytes));
  }
  return own_inside(address, address + whole).empty() ? map_at(address, bytes, protection, content)
                                                      : std::unexpected(EEXIST);
}

// The gaps between what the program has there are claimed first, and leaves are cut: then nothing
// can fail any more.
Or<std::uint64_t> AddressSpace::map_at(std::uint64_t address, std::uint64_t bytes,
                                       Protection protection, const Content& content) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, bytes) || !is_range(address, whole)) {
    return std::unexpected(fault_of_range(address, bytes));
  }
  const std::uint64_t end = address + whole;
  // In RAM an address has a frame of its own.
  const AddressZones::Part zone = zones_.at(address);
  if (content.is_shared() &&
      (zone.zone != Zone::open || zone.end < end || address < zones_.window.end)) {
    return std::unexpected(ENOMEM);
  }
  if (address < zones_.window.end && end > zones_.window.start && take_window(*here_) != 0) {
    return std::unexpected(ENOMEM);
  }
  const std::vector<Area> gaps = areas_.gaps(address, end);
  if (!may_be(address, end, protection) || !claim(gaps)) {
    return std::unexpected(ENOMEM);
  }
  const Protection wanted = content.is_zero() ? protection : protection_none; // hidden, perhaps
  if (!cut(address, wanted) || !cut(end, wanted)) {
    for (const Area& gap : gaps) {
      give_back(gap);
    }
    return std::unexpected(ENOMEM);
  }
  const std::vector<Area> before = areas_.inside(address, end);
  for (const Area& part : before) { // its own, as may_be() has seen
    renew(part);
  }
  const Area made{address, end, protection, content};
  const int error = load(made);
  enforce({address, end, read_write, {}}, protection); // of RAM: nothing else is there yet
  if (protection == read_write) {
    std::ranges::for_each(before, [this](const Area& part) { fold(part); });
  }
  areas_.remove(address, end);
  add_own(made);
  forget_unless_shown(before);
  if (error != 0) {
    static_cast<void>(unmap(address, bytes));
    return std::unexpected(error);
  }
  return address;
}

Or<std::uint64_t> AddressSpace::cut_out(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return std::unexpected(EINVAL);
  }
  const std::uint64_t end = address + whole;
  return cut(address, read_write) && cut(end, read_write) ? Or<std::uint64_t>(end)
                                                          : std::unexpected(ENOMEM);
}

int AddressSpace::unmap(std::uint64_t address, std::uint64_t bytes) {
  const Or<std::uint64_t> end = cut_out(address, bytes);
  if (!end) {
    return end.error();
  }
  const std::vector<Area> parts = own_inside(address, *end);
  for (const Area& part : parts) {
    for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      if (zone == Zone::ram) {
        free_rights(part.part(from, to));
      }
    });
    fold(part);
    areas_.remove(part.start, part.end);
    give_back_unless_shared(part);
  }
  forget_unless_shown(parts);
  return 0;
}

void AddressSpace::unmap_all() {
  for (const Area& area : own_inside(0, highest_address)) {
    static_cast<void>(unmap(area.start, area.end - area.start)); // whole areas need no new tables
  }
}

int AddressSpace::protect(std::uint64_t address, std::uint64_t bytes, Protection protection) {
  if (bytes == 0 && address % abi::page_bytes == 0) {
    return 0;
  }
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return whole == 0 || address % abi::page_bytes == 0 ? ENOMEM : EINVAL;
  }
  const std::uint64_t end = address + whole;
  if (allowed_bytes(address, whole, 0) < whole || !may_be(address, end, protection) ||
      !cut(address, protection) || !cut(end, protection)) {
    return ENOMEM;
  }
  const std::vector<Area> parts = own_inside(address, end);
  const auto is_read_only = [](const Area& part) {
    return part.content.sharing == Content::Sharing::read_only;
  };
  if ((protection & PROT_WRITE) != 0 && std::ranges::any_of(parts, is_read_only)) {
    return EACCES;
  }
  for (const Area& part : parts) {
    if (part.content.is_shared()) {
      take_out(part, part.start, part.end); // a touch asks for the file's consent
    } else {
      enforce(part, protection);
    }
    if (protection == read_write) {
      fold(part);
    }
    areas_.remove(part.start, part.end);
    add_own({part.start, part.end, protection, part.content});
  }
  return 0;
}

int AddressSpace::discard(std::uint64_t address, std::uint64_t bytes) {
  const Or<std::uint64_t> end = cut_out(address, bytes);
  if (!end) {
    return end.error();
  }
  std::uint64_t had = 0;
  int error = 0;
  for (const Area& part : own_inside(address, *end)) {
    had += part.end - part.start;
    renew(part);
    error = error != 0 ? error : load(part);
    enforce({part.start, part.end, read_write, {}}, part.protection); // of RAM
  }
  return had == *end - address ? error : ENOMEM;
}

// ---- questions ---------------------------------------------------------------------------------

std::uint64_t AddressSpace::allowed_bytes(std::uint64_t address, std::uint64_t bytes,
                                          Protection rights) const {
  if (bytes > highest_address || address > highest_address - bytes) {
    return 0;
  }
  const std::vector<Area>& all = areas_.all();
  const std::uint64_t end = address + bytes;
  std::uint64_t position = address;
  for (std::size_t index = areas_.first_ending_after(address);
       position < end && index < all.size() && all[index].start <= position && is_own(all[index]) &&
       (all[index].protection & rights) == rights;
       ++index) {
    position = std::min(all[index].end, end);
  }
  return position - address;
}

bool AddressSpace::allows(std::uint64_t address, std::uint64_t bytes, Protection rights) const {
  return allowed_bytes(address, bytes, rights) == bytes && address <= highest_address;
}

bool AddressSpace::is_resident(std::uint64_t address) const {
  const Zone zone = zones_.at(address).zone;
  return (zone == Zone::ram && !hidden_.is_hidden(address)) ||
         (zone == Zone::open && tables_.find(address).has_value());
}

std::uint64_t AddressSpace::mapped_bytes() const {
  std::uint64_t bytes = 0;
  visit([&](std::uint64_t start, std::uint64_t end, Protection) { bytes += end - start; });
  return bytes;
}

} // namespace guest::linux
