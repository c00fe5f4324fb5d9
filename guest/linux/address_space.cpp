// SPDX-License-Identifier: MIT
#include "guest/linux/address_space.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

namespace guest::linux {

namespace {

constexpr std::uint64_t highest_address = std::uint64_t{1} << 47;

// Whole pages that hold so many bytes; 0 when there cannot be as many.
std::uint64_t in_pages(std::uint64_t bytes) {
  return bytes > highest_address ? 0 : abi::align_up(bytes, abi::page_bytes);
}

abi::Pfn frame_of(std::uint64_t address) {
  return abi::to_pfn({address});
}

bool is_range(std::uint64_t address, std::uint64_t bytes) {
  return address % abi::page_bytes == 0 && bytes != 0 && address < highest_address &&
         bytes <= highest_address - address;
}

} // namespace

// ---- the list of areas -------------------------------------------------------------------------

std::size_t AddressSpace::first_ending_after(std::uint64_t address) const {
  const auto found = std::partition_point(
      areas_.begin(), areas_.end(), [address](const Area& area) { return area.end <= address; });
  return static_cast<std::size_t>(found - areas_.begin());
}

bool AddressSpace::is_free(std::uint64_t start, std::uint64_t end) const {
  const std::size_t index = first_ending_after(start);
  return index == areas_.size() || areas_[index].start >= end;
}

void AddressSpace::add(const Area& area) {
  std::size_t index = first_ending_after(area.start);
  if (index > 0 && areas_[index - 1].end == area.start &&
      areas_[index - 1].protection == area.protection) {
    --index;
    areas_[index].end = area.end;
  } else {
    areas_.insert(areas_.begin() + static_cast<std::ptrdiff_t>(index), area);
  }
  const std::size_t next = index + 1;
  if (next < areas_.size() && areas_[next].start == area.end &&
      areas_[next].protection == area.protection) {
    areas_[index].end = areas_[next].end;
    areas_.erase(areas_.begin() + static_cast<std::ptrdiff_t>(next));
  }
}

void AddressSpace::cut(std::uint64_t address) {
  const std::size_t index = first_ending_after(address);
  if (index < areas_.size() && areas_[index].start < address) {
    Area upper = areas_[index];
    upper.start = address;
    areas_[index].end = address;
    areas_.insert(areas_.begin() + static_cast<std::ptrdiff_t>(index + 1), upper);
  }
}

void AddressSpace::remove(std::uint64_t start, std::uint64_t end) {
  cut(start);
  cut(end);
  const std::size_t first = first_ending_after(start);
  std::size_t last = first;
  for (; last < areas_.size() && areas_[last].end <= end; ++last) {
    const Area& area = areas_[last];
    frames_.release(frame_of(area.start), (area.end - area.start) / abi::page_bytes);
  }
  areas_.erase(areas_.begin() + static_cast<std::ptrdiff_t>(first),
               areas_.begin() + static_cast<std::ptrdiff_t>(last));
}

// ---- mapping -----------------------------------------------------------------------------------

Or<std::uint64_t> AddressSpace::map(std::uint64_t bytes, Protection protection) {
  const std::uint64_t whole = in_pages(bytes);
  if (bytes == 0) {
    return std::unexpected(EINVAL);
  }
  const auto first =
      whole == 0 ? std::optional<abi::Pfn>{} : frames_.allocate(whole / abi::page_bytes);
  if (!first) {
    return std::unexpected(ENOMEM);
  }
  const std::uint64_t address = abi::to_gpa(*first).value;
  add({address, address + whole, protection});
  return address;
}

Or<std::uint64_t> AddressSpace::map_free(std::uint64_t address, std::uint64_t bytes,
                                         Protection protection) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, bytes) || !is_range(address, whole)) {
    return std::unexpected(bytes > highest_address ? ENOMEM : EINVAL);
  }
  if (!is_free(address, address + whole)) {
    return std::unexpected(EEXIST);
  }
  if (!frames_.claim(frame_of(address), whole / abi::page_bytes)) {
    return std::unexpected(ENOMEM);
  }
  add({address, address + whole, protection});
  return address;
}

// The gaps between what the program has there are claimed first: then nothing can fail any more.
Or<std::uint64_t> AddressSpace::map_at(std::uint64_t address, std::uint64_t bytes,
                                       Protection protection) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, bytes) || !is_range(address, whole)) {
    return std::unexpected(bytes > highest_address ? ENOMEM : EINVAL);
  }
  const std::uint64_t end = address + whole;
  std::vector<Area> gaps;
  std::uint64_t position = address;
  for (std::size_t index = first_ending_after(address);
       index < areas_.size() && areas_[index].start < end; ++index) {
    if (areas_[index].start > position) {
      gaps.push_back({position, areas_[index].start, protection});
    }
    position = areas_[index].end;
  }
  if (position < end) {
    gaps.push_back({position, end, protection});
  }
  for (std::size_t index = 0; index < gaps.size(); ++index) {
    const Area& gap = gaps[index];
    if (frames_.claim(frame_of(gap.start), (gap.end - gap.start) / abi::page_bytes)) {
      continue;
    }
    while (index-- > 0) {
      frames_.release(frame_of(gaps[index].start),
                      (gaps[index].end - gaps[index].start) / abi::page_bytes);
    }
    return std::unexpected(ENOMEM);
  }
  static_cast<void>(renew(address, end)); // what was there before
  for (const Area& gap : gaps) {
    add(gap);
  }
  static_cast<void>(protect(address, whole, protection));
  return address;
}

int AddressSpace::unmap(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return EINVAL;
  }
  remove(address, address + whole);
  return 0;
}

int AddressSpace::protect(std::uint64_t address, std::uint64_t bytes, Protection protection) {
  if (bytes == 0 && address % abi::page_bytes == 0) {
    return 0;
  }
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return whole == 0 || address % abi::page_bytes == 0 ? ENOMEM : EINVAL;
  }
  if (allowed_bytes(address, whole, 0) < whole) {
    return ENOMEM;
  }
  const std::uint64_t end = address + whole;
  cut(address);
  cut(end);
  std::size_t first = first_ending_after(address);
  const std::size_t begin = first;
  while (first < areas_.size() && areas_[first].end <= end) {
    ++first;
  }
  areas_.erase(areas_.begin() + static_cast<std::ptrdiff_t>(begin),
               areas_.begin() + static_cast<std::ptrdiff_t>(first));
  add({address, end, protection});
  return 0;
}

int AddressSpace::discard(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t whole = in_pages(bytes);
  if (!is_range(address, whole)) {
    return EINVAL;
  }
  return renew(address, address + whole) == whole ? 0 : ENOMEM;
}

std::uint64_t AddressSpace::renew(std::uint64_t start, std::uint64_t end) {
  std::uint64_t had = 0;
  for (std::size_t index = first_ending_after(start);
       index < areas_.size() && areas_[index].start < end; ++index) {
    const std::uint64_t from = std::max(areas_[index].start, start);
    const std::uint64_t to = std::min(areas_[index].end, end);
    frames_.renew(frame_of(from), (to - from) / abi::page_bytes);
    had += to - from;
  }
  return had;
}

Or<std::uint64_t> AddressSpace::remap(std::uint64_t address, std::uint64_t bytes,
                                      std::uint64_t new_bytes, Move move) {
  const std::uint64_t old_whole = in_pages(bytes);
  const std::uint64_t new_whole = in_pages(new_bytes);
  if (!is_range(address, old_whole) || new_bytes == 0) {
    return std::unexpected(EINVAL);
  }
  const std::size_t index = first_ending_after(address);
  if (index == areas_.size() || areas_[index].start > address ||
      areas_[index].end < address + old_whole) {
    return std::unexpected(EFAULT);
  }
  if (new_whole == 0) {
    return std::unexpected(ENOMEM);
  }
  const Protection protection = areas_[index].protection;
  if (new_whole <= old_whole) {
    if (new_whole < old_whole) {
      remove(address + new_whole, address + old_whole);
    }
    return address;
  }
  if (map_free(address + old_whole, new_whole - old_whole, protection)) {
    return address;
  }
  if (move == Move::no) {
    return std::unexpected(ENOMEM);
  }
  const Or<std::uint64_t> moved = map(new_whole, protection);
  if (moved) {
    frames_.copy(frame_of(*moved), frame_of(address), old_whole / abi::page_bytes);
    remove(address, address + old_whole);
  }
  return moved;
}

std::uint64_t AddressSpace::move_break(std::uint64_t wanted) {
  if (wanted < break_start_ || wanted > highest_address) {
    return break_;
  }
  const std::uint64_t old_end = abi::align_up(break_, abi::page_bytes);
  const std::uint64_t new_end = abi::align_up(wanted, abi::page_bytes);
  if (new_end > old_end) {
    if (!map_free(old_end, new_end - old_end, PROT_READ | PROT_WRITE)) {
      return break_;
    }
  } else if (new_end < old_end) {
    remove(new_end, old_end);
  }
  break_ = wanted;
  return break_;
}

// ---- questions ---------------------------------------------------------------------------------

std::uint64_t AddressSpace::allowed_bytes(std::uint64_t address, std::uint64_t bytes,
                                          Protection rights) const {
  if (bytes > highest_address || address > highest_address - bytes) {
    return 0;
  }
  const std::uint64_t end = address + bytes;
  std::uint64_t position = address;
  for (std::size_t index = first_ending_after(address);
       position < end && index < areas_.size() && areas_[index].start <= position &&
       (areas_[index].protection & rights) == rights;
       ++index) {
    position = std::min(areas_[index].end, end);
  }
  return position - address;
}

bool AddressSpace::allows(std::uint64_t address, std::uint64_t bytes, Protection rights) const {
  return allowed_bytes(address, bytes, rights) == bytes && address <= highest_address;
}

std::uint64_t AddressSpace::mapped_bytes() const {
  std::uint64_t bytes = 0;
  for (const Area& area : areas_) {
    bytes += area.end - area.start;
  }
  return bytes;
}

} // namespace guest::linux
