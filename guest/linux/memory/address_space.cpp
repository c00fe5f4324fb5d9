// SPDX-License-Identifier: MIT
#include "guest/linux/memory/address_space.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "guest/linux/memory/address_range.hpp"

namespace guest::linux {

namespace {

// More than that is not taken at once.
constexpr std::uint64_t most_at_once = abi::Order{abi::max_order}.bytes();

abi::Pfn frame_of(std::uint64_t address) {
  return abi::to_pfn({address});
}

// Rights of which one is enough. What may be written or executed may be read, too.
Protection rights_for(Access access) {
  switch (access) {
  case Access::write:
    return PROT_WRITE;
  case Access::execute:
    return PROT_EXEC;
  default:
    return PROT_READ | PROT_WRITE | PROT_EXEC;
  }
}

// Why [address, address + bytes) can be no mapping.
int fault_of_range(std::uint64_t address, std::uint64_t bytes) {
  return address % abi::page_bytes != 0 || bytes == 0 ? EINVAL : ENOMEM;
}

} // namespace

template <typename Visit>
void AddressSpace::for_each_zone(std::uint64_t start, std::uint64_t end, Visit visit) const {
  while (start < end) {
    const AddressZones::Part part = zones_.at(start);
    const std::uint64_t part_end = std::min(part.end, end);
    visit(part.zone, start, part_end);
    start = part_end;
  }
}

// Where nothing can be, addresses may still be reserved.
bool AddressSpace::may_be(std::uint64_t start, std::uint64_t end, Protection protection) const {
  bool possible = true;
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
      give_back(parts[index].start, done);
      while (index-- > 0) {
        give_back(parts[index].start, parts[index].end);
      }
      return false;
    }
  }
  return true;
}

void AddressSpace::give_back(std::uint64_t start, std::uint64_t end) {
  for_each_zone(start, end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
    if (zone == Zone::ram) {
      frames_.release(frame_of(from), (to - from) / abi::page_bytes);
    } else if (zone == Zone::open) {
      tables_.unmap(from, to, frames_);
    }
  });
}

// RAM stays in its large leaves as long as nobody wants other rights than most have.
bool AddressSpace::cut(std::uint64_t address, Protection next) {
  const Area* const area = areas_.find(address);
  const bool is_plain = next == read_write && (area == nullptr || area->protection == read_write);
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
    if (zone == Zone::ram && part.protection != read_write) {
      tables_.fold(start, end);
    }
  });
}

// The content is lost; what had no place of its own goes back. RAM has the rights then that others
// expect of it.
void AddressSpace::renew(const Area& part) {
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
    if (zone == Zone::ram) {
      enforce(part.part(from, to), read_write);
      frames_.renew(frame_of(from), (to - from) / abi::page_bytes);
    } else if (zone == Zone::open) {
      tables_.unmap(from, to, frames_);
    }
  });
}

// Where nothing comes by faults. Its rights are for reading and writing meanwhile.
int AddressSpace::load(const Area& part) {
  int error = 0;
  for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
    const Area inside = part.part(from, to);
    if (zone == Zone::ram && !inside.content.is_zero() && error == 0) {
      const Or<std::uint64_t> bytes =
          contents_.load(inside.content, frame_of(from), (to - from) / abi::page_bytes);
      error = bytes ? 0 : bytes.error();
    }
  });
  return error;
}

void AddressSpace::forget_unless_shown(const Content& content) {
  const auto shows_it = [&](const Area& area) { return area.content.file == content.file; };
  if (!content.is_zero() && std::ranges::none_of(areas_.all(), shows_it)) {
    contents_.forget(content.file);
  }
}

Area AddressSpace::demanded(const Area& area, std::uint64_t address) const {
  return area.part(zones_.ram_end, zones_.at(address).end);
}

// ---- mapping -----------------------------------------------------------------------------------

Or<std::uint64_t> AddressSpace::map(std::uint64_t bytes, Protection protection,
                                    Commitment commitment, std::uint64_t hint,
                                    const Content& content) {
  const std::uint64_t whole = in_pages(bytes);
  if (bytes == 0) {
    return std::unexpected(EINVAL);
  }
  // Linux's own rule by default: no single mapping of more than there is.
  const bool is_promise =
      commitment != Commitment::none && (protection & PROT_WRITE) != 0 && content.is_zero();
  if (whole == 0 || (is_promise && whole / abi::page_bytes > frames_.count())) {
    return std::unexpected(ENOMEM);
  }
  if (is_range(hint, whole) && hint >= zones_.open_start() && zones_.at(hint).zone == Zone::open &&
      zones_.at(hint).end - hint >= whole && areas_.is_free(hint, hint + whole)) {
    areas_.add({hint, hint + whole, protection, content});
    return hint;
  }
  if (protection == read_write && is_promise &&
      (whole <= most_at_once || commitment == Commitment::at_once)) {
    if (const auto first = frames_.allocate(whole / abi::page_bytes)) {
      const std::uint64_t address = abi::to_gpa(*first).value;
      areas_.add({address, address + whole, protection, {}});
      return address;
    }
  }
  const auto place = areas_.highest_gap(zones_.open_start(), AddressZones::open_end, whole,
                                        choose_alignment(whole));
  if (!place) {
    return std::unexpected(ENOMEM);
  }
  areas_.add({*place, *place + whole, protection, content});
  return *place;
}

Or<std::uint64_t> AddressSpace::map_free(std::uint64_t address, std::uint64_t bytes,
                                         Protection protection, const Content& content) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, bytes) || !is_range(address, whole)) {
    return std::unexpected(fault_of_range(address, bytes));
  }
  return areas_.is_free(address, address + whole) ? map_at(address, bytes, protection, content)
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
  const std::vector<Area> gaps = areas_.gaps(address, end);
  if (!may_be(address, end, protection) || !claim(gaps)) {
    return std::unexpected(ENOMEM);
  }
  if (!cut(address, protection) || !cut(end, protection)) {
    for (const Area& gap : gaps) {
      give_back(gap.start, gap.end);
    }
    return std::unexpected(ENOMEM);
  }
  const std::vector<Area> before = areas_.inside(address, end);
  for (const Area& part : before) {
    renew(part);
  }
  const Area made{address, end, protection, content};
  const int error = load(made);
  enforce({address, end, read_write, {}}, protection); // of RAM: nothing else is there yet
  if (protection == read_write) {
    std::ranges::for_each(before, [this](const Area& part) { fold(part); });
  }
  areas_.remove(address, end);
  areas_.add(made);
  std::ranges::for_each(before, [this](const Area& part) { forget_unless_shown(part.content); });
  if (error != 0) {
    static_cast<void>(unmap(address, bytes));
    return std::unexpected(error);
  }
  return address;
}

int AddressSpace::unmap(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return EINVAL;
  }
  const std::uint64_t end = address + whole;
  if (!cut(address, read_write) || !cut(end, read_write)) {
    return ENOMEM;
  }
  const std::vector<Area> parts = areas_.inside(address, end);
  for (const Area& part : parts) {
    for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      if (zone == Zone::ram) {
        enforce(part.part(from, to), read_write);
      }
    });
    fold(part);
    give_back(part.start, part.end);
  }
  areas_.remove(address, end);
  std::ranges::for_each(parts, [this](const Area& part) { forget_unless_shown(part.content); });
  return 0;
}

void AddressSpace::unmap_all() {
  const std::vector<Area> all = areas_.all();
  for (const Area& area : all) {
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
  for (const Area& part : areas_.inside(address, end)) {
    enforce(part, protection);
    if (protection == read_write) {
      fold(part);
    }
    areas_.remove(part.start, part.end);
    areas_.add({part.start, part.end, protection, part.content});
  }
  return 0;
}

int AddressSpace::discard(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return EINVAL;
  }
  const std::uint64_t end = address + whole;
  if (!cut(address, read_write) || !cut(end, read_write)) {
    return ENOMEM;
  }
  std::uint64_t had = 0;
  int error = 0;
  for (const Area& part : areas_.inside(address, end)) {
    had += part.end - part.start;
    renew(part);
    error = error != 0 ? error : load(part);
    enforce({part.start, part.end, read_write, {}}, part.protection); // of RAM
  }
  return had == whole ? error : ENOMEM;
}

int AddressSpace::populate(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return EINVAL;
  }
  Supply supply = Supply::there;
  std::uint64_t had = 0;
  for (const Area& part : areas_.inside(address, address + whole)) {
    had += part.end - part.start;
    for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      if (zone == Zone::open && supply == Supply::there) {
        supply = demand_.populate(part.part(from, to));
      }
    });
  }
  if (supply == Supply::nothing_to_show) {
    return EFAULT;
  }
  return supply == Supply::there && had == whole ? 0 : ENOMEM;
}

// ---- touching ----------------------------------------------------------------------------------

Resolution AddressSpace::resolve(std::uint64_t address, Access access) {
  const Area* const area = areas_.find(address);
  if (area == nullptr) {
    return Resolution::unmapped;
  }
  if ((area->protection & rights_for(access)) == 0) {
    return Resolution::forbidden;
  }
  if (tables_.find(address)) {
    return tables_.refresh(address, rights_for(access)) ? Resolution::resolved
                                                        : Resolution::forbidden;
  }
  if (zones_.at(address).zone != Zone::open) {
    return Resolution::forbidden;
  }
  switch (demand_.commit(demanded(*area, address), address)) {
  case Supply::there:
    return Resolution::resolved;
  case Supply::nothing_to_show:
    return Resolution::nothing_to_show;
  default:
    return Resolution::out_of_memory;
  }
}

Resolution AddressSpace::resolve_for_guest(std::uint64_t address, Access access) {
  const Resolution resolution = resolve(address, access);
  if (resolution != Resolution::nothing_to_show) {
    return resolution;
  }
  Area page = *areas_.find(address);
  page.start = abi::align_down(address, abi::page_bytes);
  page.end = page.start + abi::page_bytes;
  page.content = {};
  return demand_.populate(page) == Supply::there ? Resolution::resolved : Resolution::out_of_memory;
}

Or<AddressSpace::Place> AddressSpace::place_of(std::uint64_t address, std::uint64_t bytes) {
  const AddressZones::Part part = zones_.at(address);
  if (part.zone != Zone::open) {
    return Place{{address}, std::min(bytes, part.end - address)};
  }
  const Area* const area = areas_.find(address);
  const std::uint64_t page = abi::align_down(address, abi::page_bytes);
  if (area == nullptr) {
    return std::unexpected(EFAULT);
  }
  const Supply supply = area->content.is_zero()
                            ? demand_.populate(area->part(page, page + abi::page_bytes))
                            : demand_.commit(demanded(*area, address), address);
  if (supply != Supply::there) {
    return std::unexpected(supply == Supply::nothing_to_show ? EFAULT : ENOMEM);
  }
  const auto run = tables_.find(address);
  const std::uint64_t inside = address - page;
  return Place{abi::to_gpa(run->first) + inside,
               std::min({bytes, run->count * abi::page_bytes - inside, area->end - address})};
}

bool AddressSpace::shows(std::uint64_t address, std::uint64_t bytes) {
  for (std::uint64_t at = address; at < address + bytes;) {
    const Area* const area = areas_.find(at);
    if (area == nullptr || area->content.is_zero() || zones_.at(at).zone != Zone::open) {
      at = area == nullptr ? address + bytes : area->end;
      continue;
    }
    if (demand_.commit(demanded(*area, at), at) == Supply::nothing_to_show) {
      return false;
    }
    const auto run = tables_.find(at); // nothing: out of memory, which a touch will tell
    at = abi::align_down(at, abi::page_bytes) + (run ? run->count : 1) * abi::page_bytes;
  }
  return true;
}

// Above RAM by the frames' own addresses. In RAM the area may be written to meanwhile.
void AddressSpace::write(std::uint64_t address, std::span<const std::byte> from) {
  for (std::size_t done = 0; done < from.size();) {
    const std::uint64_t at = address + done;
    const Or<Place> place = place_of(at, from.size() - done);
    const Area* const area = areas_.find(at);
    if (!place || area == nullptr) {
      return; // out of memory, or not the program's
    }
    const std::uint64_t bytes = std::min(place->bytes, area->end - at);
    const Area part = *area;
    const bool is_ram = zones_.at(at).zone == Zone::ram;
    const Protection writable = PROT_READ | PROT_WRITE | PROT_EXEC;
    if (is_ram) {
      enforce(part, writable);
      static_cast<void>(tables_.refresh(at, PROT_WRITE));
    }
    frames_.write(place->gpa, from.subspan(done, bytes));
    if (is_ram) {
      enforce({part.start, part.end, writable, {}}, part.protection);
    }
    done += bytes;
  }
  static_cast<void>(tables_.refresh(address, PROT_READ));
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
       position < end && index < all.size() && all[index].start <= position &&
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
  return zone == Zone::ram || (zone == Zone::open && tables_.find(address).has_value());
}

std::uint64_t AddressSpace::mapped_bytes() const {
  std::uint64_t bytes = 0;
  for (const Area& area : areas_.all()) {
    bytes += area.end - area.start;
  }
  return bytes;
}

} // namespace guest::linux
