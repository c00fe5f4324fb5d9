// SPDX-License-Identifier: MIT
// Frames and page tables for tests of a program's memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>

#include <doctest/doctest.h>

#include "guest/linux/memory/frames.hpp"
#include "guest/linux/memory/page_contents.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace test_support {

// Frames [first, end), each in use or not; and what was asked for their content.
class FakeFrames final : public guest::linux::Frames {
 public:
  bool claim(abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      if (frame < first || frame >= end || in_use.contains(frame)) {
        return false;
      }
    }
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      in_use.insert(frame);
    }
    return true;
  }
  // Blocks lie at multiples of their size.
  std::optional<abi::Pfn> allocate(std::uint64_t count) override {
    const std::uint64_t step = count >= 512 ? 512 : std::bit_ceil(count);
    for (std::uint64_t frame = abi::align_up(first, step); frame + count <= end; frame += step) {
      if (claim({frame}, count)) {
        return abi::Pfn{frame};
      }
    }
    return std::nullopt;
  }
  void renew(abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      REQUIRE(in_use.contains(frame));
      renewed.insert(frame);
    }
  }
  void copy(std::uint64_t /*to*/, std::uint64_t /*from*/, std::uint64_t count) override {
    copied += count;
  }
  void write(abi::Gpa to, std::span<const std::byte> from) override {
    written[to.value] = from.size();
  }
  void release(abi::Pfn from, std::uint64_t count) override {
    for (std::uint64_t frame = from.value; frame < from.value + count; ++frame) {
      REQUIRE(in_use.erase(frame) == 1);
    }
  }
  [[nodiscard]] std::uint64_t free_count() const override { return count() - in_use.size(); }
  [[nodiscard]] std::uint64_t count() const override { return end - first; }

  std::uint64_t first = 0x400;
  std::uint64_t end = 0x400 + 64;
  std::set<std::uint64_t> in_use;
  std::set<std::uint64_t> renewed;
  std::uint64_t copied = 0;
  std::map<std::uint64_t, std::size_t> written; // bytes at an address
};

// Files of so many bytes each, by number, and what of them has been put into frames.
class FakeContents final : public guest::linux::PageContents {
 public:
  guest::linux::Or<std::uint64_t> load(const guest::linux::Content& from, abi::Pfn first,
                                       std::uint64_t count) override {
    REQUIRE(files.contains(from.file)); // or it was forgotten too early
    ++loads;
    if (meanwhile) {
      meanwhile(first);
    }
    if (error != 0) {
      return std::unexpected(error);
    }
    const std::uint64_t size = files[from.file];
    for (std::uint64_t page = 0; page < count; ++page) {
      const std::uint64_t offset = from.offset + page * abi::page_bytes;
      if (offset < size) {
        shown[first.value + page] = {from.file, offset};
      } else {
        shown.erase(first.value + page);
      }
    }
    return size - std::min(size, from.offset) < count * abi::page_bytes
               ? size - std::min(size, from.offset)
               : count * abi::page_bytes;
  }
  guest::linux::Or<Shown> show(const guest::linux::Content& from,
                               guest::linux::Access access) override {
    REQUIRE(files.contains(from.file));
    if (from.offset >= files[from.file]) {
      return std::unexpected(EFAULT);
    }
    const std::uint64_t page = from.offset / abi::page_bytes;
    if (access == guest::linux::Access::write) {
      dirty.insert(page);
    }
    return Shown{{first_own + page}, dirty.contains(page)};
  }
  void forget(std::uint32_t file) override { REQUIRE(files.erase(file) == 1); }

  std::map<std::uint32_t, std::uint64_t> files;         // bytes
  std::map<std::uint64_t, guest::linux::Content> shown; // by frame
  static constexpr std::uint64_t first_own = 0x900'000; // frame of a file's own first page
  std::set<std::uint64_t> dirty;                        // pages of shared files
  int loads = 0;
  std::function<void(abi::Pfn)> meanwhile; // as each begins
  int error = 0;
};

// Tables at made-up places. What the processor would know of them is what it has looked up since it
// last forgot.
class FakeTables final : public guest::linux::TableStore {
 public:
  static constexpr std::uint64_t page = abi::page_bytes;
  using Table = std::array<std::uint64_t, 512>;

  FakeTables() : root{make()} {}

  [[nodiscard]] std::optional<abi::Gpa> allocate() override {
    return tables.size() < most ? std::optional(make()) : std::nullopt;
  }
  void release(abi::Gpa table) override {
    REQUIRE(known.empty()); // or the processor could still walk it
    REQUIRE(tables.erase(table.value) == 1);
  }
  [[nodiscard]] std::uint64_t* entries(abi::Gpa table) override {
    return tables.at(table.value)->data();
  }
  void flush() override {
    ++flushes;
    known.clear();
  }
  void flush_here() override { flush(); }
  void stop_others() override { ++stops; }

  // RAM [start, end) at its own addresses, for reading and writing, in tables of somebody else's.
  void map_ram(std::uint64_t start, std::uint64_t end) {
    for (std::uint64_t address = start; address < end; address += abi::huge_page_bytes) {
      std::uint64_t table = root.value;
      for (const unsigned shift : {39U, 30U}) {
        std::uint64_t& entry = (*tables.at(table))[(address >> shift) & 511];
        if (entry == 0) {
          entry = make().value | 0x27;
        }
        table = entry & address_mask;
      }
      (*tables.at(table))[(address >> 21) & 511] = address | 0xe7 | no_execute;
    }
  }

  // As the processor walks them: what may be done at an address, and where it is.
  struct Meaning {
    std::uint64_t gpa = 0;
    bool writable = false;
    bool executable = false;
  };
  std::optional<Meaning> walk(std::uint64_t address) {
    std::uint64_t table = root.value;
    Meaning meaning{0, true, true};
    for (const unsigned shift : {39U, 30U, 21U, 12U}) {
      const std::uint64_t entry = (*tables.at(table))[(address >> shift) & 511];
      if ((entry & 1) == 0) {
        return std::nullopt;
      }
      REQUIRE((entry & 4) != 0); // a program's
      meaning.writable = meaning.writable && (entry & 2) != 0;
      meaning.executable = meaning.executable && (entry & no_execute) == 0;
      table = entry & address_mask;
      if (shift == 12 || (entry & 0x80) != 0) {
        REQUIRE((shift == 12 || shift == 21));
        REQUIRE(table % (std::uint64_t{1} << shift) == 0);
        meaning.gpa = table + address % (std::uint64_t{1} << shift);
        known.insert(address / page);
        return meaning;
      }
    }
    return std::nullopt;
  }
  [[nodiscard]] bool is_large(std::uint64_t address) const {
    std::uint64_t table = root.value;
    for (const unsigned shift : {39U, 30U}) {
      table = (*tables.at(table))[(address >> shift) & 511] & address_mask;
    }
    return ((*tables.at(table))[(address >> 21) & 511] & 0x80) != 0;
  }

  static constexpr std::uint64_t address_mask = 0x000ffffffffff000;
  static constexpr std::uint64_t no_execute = std::uint64_t{1} << 63;
  std::uint64_t last = std::uint64_t{1} << 40; // address of the last table
  std::map<std::uint64_t, std::unique_ptr<Table>> tables;
  std::size_t most = 10'000;
  std::uint64_t flushes = 0;
  std::uint64_t stops = 0;
  std::set<std::uint64_t> known; // pages that the processor has looked up
  abi::Gpa root;

 private:
  abi::Gpa make() {
    last += page;
    tables[last] = std::make_unique<Table>();
    return {last};
  }
};

} // namespace test_support
