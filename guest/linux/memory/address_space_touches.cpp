// SPDX-License-Identifier: MIT
// What touches of a program's memory bring: by the program, by the guest for it, and by the host.
#include <algorithm>
#include <cerrno>

#include "guest/linux/memory/address_range.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

namespace {

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

} // namespace

void AddressSpace::populate_files() {
  for (const Area& area : own_inside(0, highest_address)) {
    if (!area.content.is_zero()) {
      static_cast<void>(populate(area.start, area.end - area.start));
    }
  }
}

int AddressSpace::populate(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return EINVAL;
  }
  Supply supply = Supply::there;
  std::uint64_t had = 0;
  for (const Area& part : own_inside(address, address + whole)) {
    had += part.end - part.start;
    for_each_zone(part.start, part.end, [&](Zone zone, std::uint64_t from, std::uint64_t to) {
      const Area inside = part.part(from, to);
      if (supply == Supply::there && zone == Zone::open) {
        supply = demand_.populate(inside);
      } else if (supply == Supply::there && zone == Zone::ram && !inside.content.is_zero()) {
        supply = hidden_.populate(inside);
      }
    });
  }
  if (supply == Supply::nothing_to_show) {
    return EFAULT;
  }
  return supply == Supply::there && had == whole ? 0 : ENOMEM;
}

Resolution AddressSpace::resolve(std::uint64_t address, Access access) {
  const Area* const area = own_area(address);
  if (area == nullptr) {
    return Resolution::unmapped;
  }
  if ((area->protection & rights_for(access)) == 0) {
    return Resolution::forbidden;
  }
  const bool is_hidden = tables_.is_hidden(address);
  if (tables_.find(address) && !is_hidden) {
    if (tables_.refresh(address, rights_for(access))) {
      return Resolution::resolved;
    }
    if (!area->content.is_shared()) {
      return Resolution::forbidden;
    }
  }
  if (zones_.at(address).zone == Zone::closed) {
    return Resolution::forbidden;
  }
  switch (area->content.is_shared() ? demand_.show(*area, address, access)
                                    : supply_of(*area, address)) {
  case Supply::there:
    return Resolution::resolved;
  case Supply::nothing_to_show:
    return Resolution::nothing_to_show;
  default:
    return Resolution::out_of_memory;
  }
}

// Memory behind the page at an address of an area.
Supply AddressSpace::supply_of(const Area& area, std::uint64_t address) {
  return zones_.at(address).zone == Zone::open ? demand_.commit(demanded(area, address), address)
                                               : hidden_.commit(area, address);
}

Resolution AddressSpace::resolve_for_guest(std::uint64_t address, Access access) {
  const Resolution resolution = resolve(address, access);
  if (resolution != Resolution::nothing_to_show) {
    return resolution;
  }
  Area page = *own_area(address);
  if (zones_.at(address).zone == Zone::ram) {
    return hidden_.give_up(page, address) ? Resolution::resolved : Resolution::out_of_memory;
  }
  page.start = abi::align_down(address, abi::page_bytes);
  page.end = page.start + abi::page_bytes;
  page.content = {};
  return demand_.populate(page) == Supply::there ? Resolution::resolved : Resolution::out_of_memory;
}

Or<AddressSpace::Place> AddressSpace::place_of(std::uint64_t address, std::uint64_t bytes) {
  const AddressZones::Part part = zones_.at(address);
  if (part.zone == Zone::ram) {
    return place_in_ram(address, std::min(bytes, part.end - address));
  }
  if (part.zone != Zone::open) {
    return Place{{address}, std::min(bytes, part.end - address)};
  }
  const Area* const area = own_area(address);
  const std::uint64_t page = abi::align_down(address, abi::page_bytes);
  if (area == nullptr) {
    return std::unexpected(EFAULT);
  }
  const bool is_shared = area->content.is_shared();
  const Access access = (area->protection & PROT_WRITE) != 0 ? Access::write : Access::read;
  const Supply supply = is_shared ? demand_.show(*area, address, access)
                        : area->content.is_zero()
                            ? demand_.populate(area->part(page, page + abi::page_bytes))
                            : demand_.commit(demanded(*area, address), address);
  if (supply != Supply::there) {
    return std::unexpected(supply == Supply::nothing_to_show ? EFAULT : ENOMEM);
  }
  const auto run = tables_.find(address);
  const std::uint64_t inside = address - page;
  return Place{abi::to_gpa(run->first) + inside,
               std::min({bytes, (is_shared ? 1 : run->count) * abi::page_bytes - inside,
                         area->end - address})};
}

// RAM is at its own addresses. What shows a file is loaded first, and ends where it is hidden
// still.
Or<AddressSpace::Place> AddressSpace::place_in_ram(std::uint64_t address, std::uint64_t bytes) {
  std::uint64_t end = address;
  const std::vector<Area>& all = areas_.all();
  for (std::size_t index = areas_.first_ending_after(address); end < address + bytes; ++index) {
    if (index == all.size() || all[index].start >= address + bytes) {
      end = address + bytes; // the guest's own, or nobody's
      break;
    }
    const Area& area = all[index];
    end = std::max(end, area.start);
    if (area.content.is_zero()) {
      end = area.end;
      continue;
    }
    if (end == address) {
      const Supply supply = supply_of(area, address);
      if (supply != Supply::there) {
        return std::unexpected(supply == Supply::nothing_to_show ? EFAULT : ENOMEM);
      }
    }
    while (end < area.end && !hidden_.is_hidden(end)) {
      end = abi::align_down(end, abi::page_bytes) + abi::page_bytes;
    }
    if (end < area.end) {
      break;
    }
  }
  return Place{{address}, std::min(bytes, end - address)};
}

bool AddressSpace::shows(std::uint64_t address, std::uint64_t bytes) {
  for (std::uint64_t at = address; at < address + bytes;) {
    const Area* const area = own_area(at);
    if (area == nullptr || area->content.is_zero()) {
      at = area == nullptr ? address + bytes : area->end;
      continue;
    }
    if (supply_of(*area, at) == Supply::nothing_to_show) {
      return false;
    }
    at = abi::align_down(at, abi::page_bytes) + abi::page_bytes;
  }
  return true;
}

// Above RAM by the frames' own addresses. In RAM the area may be written to meanwhile.
void AddressSpace::write(std::uint64_t address, std::span<const std::byte> from) {
  tables_.stop_others(); // it may be code that they run
  for (std::size_t done = 0; done < from.size();) {
    const std::uint64_t at = address + done;
    const Or<Place> place = place_of(at, from.size() - done);
    const Area* const area = own_area(at);
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

} // namespace guest::linux
