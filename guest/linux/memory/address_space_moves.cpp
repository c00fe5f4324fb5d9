// SPDX-License-Identifier: MIT
// Mappings that grow, shrink and move (mremap), and the break.
#include <algorithm>
#include <cerrno>

#include "guest/linux/memory/address_range.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

Or<std::uint64_t> AddressSpace::remap(std::uint64_t address, std::uint64_t bytes,
                                      std::uint64_t new_bytes, Move move,
                                      std::optional<std::uint64_t> to) {
  const std::uint64_t old_whole = in_pages(bytes);
  const std::uint64_t new_whole = in_pages(new_bytes);
  if (!is_range(address, old_whole) || new_bytes == 0) {
    return std::unexpected(EINVAL);
  }
  if (to && (!is_range(*to, new_whole) || new_whole == 0 ||
             (*to < address + old_whole && address < *to + new_whole))) {
    return std::unexpected(EINVAL);
  }
  const Area* const area = own_area(address);
  if (area == nullptr) {
    return std::unexpected(EFAULT);
  }
  if (new_whole != 0 && new_whole < old_whole) {
    if (const int error = unmap(address + new_whole, old_whole - new_whole); error != 0) {
      return std::unexpected(error);
    }
  }
  if (!to && new_whole != 0 && new_whole <= old_whole) {
    return address;
  }
  const std::uint64_t kept = std::min(old_whole, new_whole == 0 ? old_whole : new_whole);
  const Area* const from = own_area(address);
  if (from->end < address + kept) {
    return std::unexpected(EFAULT);
  }
  if (new_whole == 0) {
    return std::unexpected(ENOMEM);
  }
  const Area part = from->part(address, address + kept);
  if (new_whole > old_whole && (part.protection & PROT_WRITE) != 0 && part.content.is_zero() &&
      !could_hold(new_whole - old_whole)) {
    return std::unexpected(ENOMEM);
  }
  if (!to && map_free(address + old_whole, new_whole - old_whole, part.protection,
                      part.content.at(old_whole))) {
    return address;
  }
  if (move == Move::no) {
    return std::unexpected(ENOMEM);
  }
  return move_to(part, new_whole, to);
}

// Frames above RAM move by their tables, with no byte copied; RAM is copied.
Or<std::uint64_t> AddressSpace::move_to(const Area& from, std::uint64_t new_bytes,
                                        std::optional<std::uint64_t> to) {
  const AddressZones::Part source = zones_.at(from.start);
  const bool is_open = source.zone == Zone::open && source.end >= from.end;
  Or<std::uint64_t> place = std::unexpected(ENOMEM);
  if (to) {
    place = map_at(*to, new_bytes, from.protection, from.content);
  } else if (is_open || from.protection != read_write) {
    place = map(new_bytes, from.protection, Commitment::none, 0, from.content);
  } else {
    place = map(new_bytes, from.protection, Commitment::normal, 0, from.content);
  }
  if (!place) {
    return place;
  }
  const std::uint64_t bytes = from.end - from.start;
  const AddressZones::Part target = zones_.at(*place);
  bool done = false;
  if (is_open && target.zone == Zone::open && target.end >= *place + bytes) {
    done = cut(from.start, read_write) && cut(from.end, read_write) &&
           tables_.move(from.start, from.end, *place - from.start);
  } else if (!from.content.is_shared() && protect(from.start, bytes, read_write) == 0) {
    // What a file does not reach to is copied, too: as zeroes.
    const int filled = protect(*place, bytes, read_write) == 0 ? populate(*place, bytes) : ENOMEM;
    done = filled == 0 || filled == EFAULT;
    if (done) {
      tables_.stop_others(); // or what they store there meanwhile is lost
      frames_.copy(*place, from.start, bytes / abi::page_bytes);
      done = protect(*place, bytes, from.protection) == 0;
    }
  }
  if (!done) {
    if (!from.content.is_shared()) {
      static_cast<void>(protect(from.start, bytes, from.protection));
    }
    static_cast<void>(unmap(*place, new_bytes));
    return std::unexpected(ENOMEM);
  }
  static_cast<void>(unmap(from.start, bytes));
  return place;
}

// Mappings are looked for from above. Two that have the same place stop growing where they meet.
std::uint64_t AddressSpace::open_break(const Occupant& occupant) const {
  constexpr std::uint64_t places = 512;
  constexpr std::uint64_t place_bytes = std::uint64_t{1} << 36;
  const std::uint64_t first = abi::align_up(zones_.open_start(), abi::huge_page_bytes);
  return first + occupant.number % places * place_bytes;
}

std::uint64_t AddressSpace::move_break(std::uint64_t wanted) {
  if (wanted < here_->break_start || wanted > highest_address) {
    return here_->break_end;
  }
  const std::uint64_t old_end = abi::align_up(here_->break_end, abi::page_bytes);
  const std::uint64_t new_end = abi::align_up(wanted, abi::page_bytes);
  if (new_end > old_end) {
    if (!could_hold(new_end - old_end) || !map_free(old_end, new_end - old_end, read_write)) {
      return here_->break_end;
    }
  } else if (new_end < old_end && unmap(new_end, old_end - new_end) != 0) {
    return here_->break_end;
  }
  here_->break_end = wanted;
  return here_->break_end;
}

} // namespace guest::linux
