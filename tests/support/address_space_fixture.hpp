// SPDX-License-Identifier: MIT
// A program's memory over made-up frames, tables and files.
#pragma once

#include <cstdint>

#include "guest/linux/memory/address_space.hpp"
#include "tests/support/fake_frames.hpp"

namespace test_support {

// RAM from 4 MiB on, of which 64 pages can be had unless said otherwise, and something of the
// guest's own above.
struct AddressSpaceFixture {
  static constexpr std::uint64_t base = 0x400 * abi::page_bytes;

  explicit AddressSpaceFixture(std::uint64_t frame_count = 64)
      : zones{.ram_end =
                  abi::align_up((0x400 + frame_count) * abi::page_bytes, abi::huge_page_bytes),
              .closed = {{{0, base}, {own_start, own_end}}}},
        space(frames, tables, areas, contents, zones) {
    frames.end = frames.first + frame_count;
    store.map_ram(base, zones.ram_end);
  }

  static constexpr std::uint64_t own_start = 0xe0000000;
  static constexpr std::uint64_t own_end = std::uint64_t{1} << 32;
  FakeFrames frames;
  FakeTables store;
  guest::linux::PageTables tables{store, store.root};
  guest::linux::AreaList areas;
  FakeContents contents;
  guest::linux::AddressZones zones;
  guest::linux::AddressSpace space;
};

} // namespace test_support
