// SPDX-License-Identifier: MIT
#include "vmm/debug/core_memory.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "shared/page_table_entry.hpp"

namespace vmm {
namespace {

constexpr unsigned top_level_shift = 39;
constexpr unsigned bits_per_level = 9;
// Levels whose entries can map a page themselves: 1 GiB and 2 MiB.
constexpr unsigned largest_page_shift = 30;

class Walker {
 public:
  Walker(const GuestMemory& memory, const ReadOnlyArea& input) : memory_(memory), input_(input) {}

  // Entries of one table, whose first maps `address`.
  void walk(abi::Gpa table, unsigned shift, std::uint64_t address, bool writable, bool executable) {
    const std::span<const std::byte> bytes = memory_.at(table, abi::page_bytes);
    if (bytes.empty()) {
      return;
    }
    std::array<std::uint64_t, abi::page_entry::per_table> entries{};
    std::memcpy(entries.data(), bytes.data(), bytes.size());
    for (std::uint64_t index = 0; index < entries.size() && !found_.cut_short; ++index) {
      const std::uint64_t entry = entries.at(index);
      if ((entry & abi::page_entry::present) == 0) {
        continue;
      }
      if (++visited_ > most_visited) {
        found_.cut_short = true;
        return;
      }
      const std::uint64_t at = address + (index << shift);
      const bool writes = writable && (entry & abi::page_entry::writable) != 0;
      const bool runs = executable && (entry & abi::page_entry::no_execute) == 0;
      const std::uint64_t target = entry & abi::page_entry::address_mask;
      if (shift == abi::page_shift ||
          (shift <= largest_page_shift && (entry & abi::page_entry::large) != 0)) {
        const std::uint64_t page = std::uint64_t{1} << shift;
        add(canonical(at), {abi::align_down(target, page)}, page, writes, runs);
      } else {
        walk({target}, shift - bits_per_level, at, writes, runs);
      }
    }
  }
  [[nodiscard]] MappedMemory take() { return std::move(found_); }

 private:
  // Of entries, whatever they map: some seconds of work at most.
  static constexpr std::uint64_t most_visited = std::uint64_t{1} << 27;

  static std::uint64_t canonical(std::uint64_t address) {
    return (address >> 47 & 1) != 0 ? address | ~((std::uint64_t{1} << 48) - 1) : address;
  }

  // Of a large page that is there in part, that part.
  void add(std::uint64_t address, abi::Gpa gpa, std::uint64_t bytes, bool writable,
           bool executable) {
    if (host_view(memory_, input_, gpa, bytes).empty()) {
      const std::uint64_t half = bytes / 2;
      if (half >= abi::page_bytes) {
        add(address, gpa, half, writable, executable);
        add(address + half, {gpa.value + half}, half, writable, executable);
      }
      return;
    }
    std::vector<MappedArea>& areas = found_.areas;
    if (areas.empty() || areas.back().address + areas.back().bytes != address ||
        areas.back().writable != writable || areas.back().executable != executable) {
      if (areas.size() == MappedMemory::most_areas) {
        found_.cut_short = true;
        return;
      }
      areas.push_back({address, 0, writable, executable, {}});
    }
    MappedArea& area = areas.back();
    if (!area.pieces.empty() &&
        area.pieces.back().gpa.value + area.pieces.back().bytes == gpa.value) {
      area.pieces.back().bytes += bytes;
    } else if (pieces_++ == MappedMemory::most_pieces) {
      found_.cut_short = true;
      return;
    } else {
      area.pieces.push_back({address, gpa, bytes});
    }
    area.bytes += bytes;
  }

  const GuestMemory& memory_;
  const ReadOnlyArea& input_;
  MappedMemory found_;
  std::uint64_t visited_ = 0;
  std::size_t pieces_ = 0;
};

} // namespace

std::span<const std::byte> host_view(const GuestMemory& memory, const ReadOnlyArea& input,
                                     abi::Gpa gpa, std::uint64_t bytes) {
  if (gpa >= input.start && gpa - input.start < input.bytes.size()) {
    return bytes <= input.bytes.size() - (gpa - input.start)
               ? input.bytes.subspan(gpa - input.start, bytes)
               : std::span<const std::byte>{};
  }
  return memory.at(gpa, bytes);
}

MappedMemory mapped_memory(const GuestMemory& memory, const ReadOnlyArea& input,
                           std::uint64_t cr3) {
  Walker walker(memory, input);
  walker.walk({cr3 & abi::page_entry::address_mask}, top_level_shift, 0, true, true);
  return walker.take();
}

} // namespace vmm
