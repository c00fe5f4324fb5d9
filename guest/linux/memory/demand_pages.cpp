// SPDX-License-Identifier: MIT
#include "guest/linux/memory/demand_pages.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

namespace guest::linux {

namespace {

// A fault costs 40 to 57 us on kvm_pvm, zeroing 2 MiB about 300 us: so a touch brings 2 MiB. A
// program that touches a page here and there gets less the less there is.
constexpr abi::Order plenty{9};
// Of a file: asking the host for it costs as much as another fault, and most of a program's code is
// never run.
constexpr abi::Order of_file{6};
constexpr abi::Order some{4};
constexpr abi::Order little{0};
constexpr std::array descending{plenty, of_file, some, little};

} // namespace

abi::Order DemandPages::order_of_first_try(const Area& area) const {
  const std::uint64_t free = frames_.free_count();
  const std::uint64_t all = frames_.count();
  const bool is_file = !area.content.is_zero();
  const abi::Order most = is_file ? of_file : area.content.is_sparse ? some : plenty;
  if (free > all / 2) {
    return most;
  }
  return free > all / 4 ? some : little;
}

bool DemandPages::fits(const Area& area, std::uint64_t address, abi::Order order) const {
  const std::uint64_t start = abi::align_down(address, order.bytes());
  return start >= area.start && order.bytes() <= area.end - start &&
         tables_.is_empty(start, start + order.bytes());
}

// At most `frames` frames from `first` on stay.
Supply DemandPages::load(const Content& from, abi::Pfn first, std::uint64_t wanted,
                         std::uint64_t& frames) {
  const Or<std::uint64_t> bytes = contents_.load(from, first, frames);
  const std::uint64_t shown =
      std::min(frames, abi::align_up(bytes.value_or(0), abi::page_bytes) / abi::page_bytes);
  if (shown <= wanted) {
    frames_.release(first, frames);
    return Supply::nothing_to_show;
  }
  if (shown < frames) {
    frames_.release(first + shown, frames - shown);
    frames = shown;
  }
  return Supply::there;
}

// Small blocks would come from what the break has left of a large one, and be in its way.
std::optional<abi::Pfn> DemandPages::take_for_file(std::uint64_t frames) {
  if (spare_.count < frames) {
    const std::optional<abi::Pfn> block = frames_.allocate(plenty.frames());
    if (!block) {
      return frames_.allocate(frames);
    }
    give_spare_back();
    spare_ = {*block, plenty.frames()};
  }
  const abi::Pfn first = spare_.first;
  spare_ = {first + frames, spare_.count - frames};
  return first;
}

void DemandPages::give_spare_back() {
  if (spare_.count != 0) {
    frames_.release(spare_.first, spare_.count);
    spare_.count = 0;
  }
}

Supply DemandPages::put(const Area& area, std::uint64_t address, abi::Order order) {
  const std::uint64_t start = abi::align_down(address, order.bytes());
  std::uint64_t frames = order.frames();
  std::optional<abi::Pfn> first =
      area.content.is_zero() ? frames_.allocate(frames) : take_for_file(frames);
  if (!first && spare_.count != 0) {
    give_spare_back();
    first = frames_.allocate(frames);
  }
  if (!first) {
    return Supply::out_of_memory;
  }
  if (!area.content.is_zero()) {
    const Supply loaded = load(area.content.at(start - area.start), *first,
                               (address - start) / abi::page_bytes, frames);
    if (loaded != Supply::there) {
      return loaded;
    }
  }
  if (!tables_.map(start, *first, frames, area.protection)) {
    frames_.release(*first, frames);
    return Supply::out_of_memory;
  }
  return Supply::there;
}

// Without the right to write until somebody does, which the file wants to know.
Supply DemandPages::show(const Area& area, std::uint64_t address, Access access) {
  const std::uint64_t page = abi::align_down(address, abi::page_bytes);
  const Or<PageContents::Shown> shown = contents_.show(area.content.at(page - area.start), access);
  if (!shown) {
    return shown.error() == ENOMEM ? Supply::out_of_memory : Supply::nothing_to_show;
  }
  const bool is_for_reading = (area.protection & PROT_WRITE) != 0 && !shown->may_be_written;
  const Protection protection =
      is_for_reading ? (area.protection & PROT_EXEC) | PROT_READ : area.protection;
  if (tables_.find(page)) {
    tables_.protect(page, page + abi::page_bytes, protection);
    return Supply::there;
  }
  return tables_.map(page, shown->frame, 1, protection) ? Supply::there : Supply::out_of_memory;
}

Supply DemandPages::commit(const Area& area, std::uint64_t address) {
  if (tables_.find(address)) {
    return Supply::there;
  }
  if (area.content.is_shared()) {
    return show(area, address, Access::read);
  }
  const abi::Order most = order_of_first_try(area);
  Supply supply = Supply::out_of_memory;
  for (const abi::Order order : descending) {
    if (order <= most && supply == Supply::out_of_memory && fits(area, address, order)) {
      supply = put(area, address, order);
    }
  }
  return supply;
}

Supply DemandPages::populate(const Area& area) {
  for (std::uint64_t address = area.start; address < area.end;) {
    if (const auto run = tables_.find(address)) {
      address += run->count * abi::page_bytes;
      continue;
    }
    if (area.content.is_shared()) {
      if (const Supply supply = show(area, address, Access::read); supply != Supply::there) {
        return supply;
      }
      address += abi::page_bytes;
      continue;
    }
    abi::Order order = plenty;
    while (order > little && (address % order.bytes() != 0 || !fits(area, address, order))) {
      --order.value;
    }
    Supply supply = put(area, address, order);
    while (supply == Supply::out_of_memory && order > little) {
      --order.value;
      supply = put(area, address, order);
    }
    if (supply != Supply::there) {
      return supply;
    }
    address = tables_.find(address)->count * abi::page_bytes + address;
  }
  return Supply::there;
}

} // namespace guest::linux
