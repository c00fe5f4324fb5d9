// SPDX-License-Identifier: MIT
// What lies at which addresses, whoever the program is.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "guest/linux/base/highest_address.hpp"

namespace guest::linux {

enum class Zone : std::uint8_t {
  ram,    // memory is at its own address: having the frames is having it mapped
  open,   // memory from anywhere, by page tables
  closed, // the guest's own, or nothing can be there: for reservations alone
};

struct AddressZones {
  struct Range {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
  };

  // kvm_pvm runs nothing that is mapped in the last of the lower half's 512 GiB.
  static constexpr std::uint64_t last_open_end = highest_address - (std::uint64_t{1} << 39);

  std::uint64_t ram_end = 0;
  std::uint64_t open_end = last_open_end;
  std::array<Range, 4> closed{}; // below open_end; what is not used is empty
  // Open, and each program's own: where those lie that are linked to fixed addresses (0x400000 and
  // up). Within RAM where no frame is anybody's; 2 MiB aligned; empty: none.
  Range window{};

  struct Part {
    Zone zone = Zone::closed;
    std::uint64_t end = 0; // from the address on it is all of this zone, up to here
  };
  [[nodiscard]] Part at(std::uint64_t address) const {
    if (address >= open_end) {
      return {Zone::closed, ~std::uint64_t{0}};
    }
    if (address >= window.start && address < window.end) {
      return {Zone::open, window.end};
    }
    const bool is_ram = address < ram_end;
    Part part{is_ram ? Zone::ram : Zone::open, is_ram ? ram_end : open_end};
    for (const Range& range : closed) {
      if (address >= range.start && address < range.end) {
        return {Zone::closed, range.end};
      }
      if (range.start > address && range.start < range.end) {
        part.end = std::min(part.end, range.start);
      }
    }
    if (window.start > address && window.start < window.end) {
      part.end = std::min(part.end, window.start);
    }
    return part;
  }
  // Where what is open begins that an address in it lies in.
  [[nodiscard]] std::uint64_t open_start_below(std::uint64_t address) const {
    return address < window.end ? window.start : ram_end;
  }
  // Above it, up to open_end, everything is open.
  [[nodiscard]] std::uint64_t open_start() const {
    std::uint64_t start = ram_end;
    for (const Range& range : closed) {
      start = std::max(start, range.end);
    }
    return start;
  }
};

} // namespace guest::linux
