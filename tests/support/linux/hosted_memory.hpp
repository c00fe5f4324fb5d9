// SPDX-License-Identifier: MIT
// A program's memory on the host, at the program's own addresses: RAM, frames of it, page tables,
// and what a processor does with them. RAM is a file; a page of an address appears there when it is
// touched, by a handler of SIGSEGV that walks the tables, and goes when the tables are flushed.
// What is touched and means nothing is a crash. One at a time, one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/memory/frames.hpp"
#include "guest/linux/memory/page_tables.hpp"

namespace test_support {

class HostedMemory final : public guest::linux::Frames, public guest::linux::TableStore {
 public:
  // Addresses that neither the host's libraries nor a sanitizer's shadow take.
  static constexpr std::uint64_t ram_start = std::uint64_t{0x2000} << 32;
  static constexpr std::uint64_t open_bytes = std::uint64_t{1} << 36;

  explicit HostedMemory(std::uint64_t ram_bytes);
  ~HostedMemory();
  HostedMemory(const HostedMemory&) = delete;
  HostedMemory& operator=(const HostedMemory&) = delete;

  [[nodiscard]] guest::linux::AddressZones zones() const;
  [[nodiscard]] guest::linux::PageTables& tables() { return tables_; }
  // Whose faults are resolved from now on.
  void serve(guest::linux::AddressSpace& space) { space_ = &space; }

  // Content by physical address, as the host sees it; what is outside of RAM lies where it is.
  [[nodiscard]] std::byte* at(abi::Gpa gpa) const;
  [[nodiscard]] std::uint64_t ram_end() const { return ram_start + ram_bytes_; }
  [[nodiscard]] std::uint64_t frames_in_use() const { return used_count_; }
  [[nodiscard]] std::size_t tables_made() const { return made_.size(); }

  // Frames
  [[nodiscard]] bool claim(abi::Pfn first, std::uint64_t count) override;
  [[nodiscard]] std::optional<abi::Pfn> allocate(std::uint64_t count) override;
  void renew(abi::Pfn first, std::uint64_t count) override;
  void copy(std::uint64_t to, std::uint64_t from, std::uint64_t count) override;
  void write(abi::Gpa to, std::span<const std::byte> from) override;
  void release(abi::Pfn first, std::uint64_t count) override;
  [[nodiscard]] std::uint64_t free_count() const override { return used_.size() - used_count_; }
  [[nodiscard]] std::uint64_t count() const override { return used_.size(); }

  // TableStore
  [[nodiscard]] std::optional<abi::Gpa> allocate() override;
  void release(abi::Gpa table) override;
  [[nodiscard]] std::uint64_t* entries(abi::Gpa table) override;
  void flush() override;
  void flush_here() override { flush(); }
  void stop_others() override { ++stops; }
  std::uint64_t stops = 0;

  // What the processor finds at an address.
  struct Meaning {
    std::uint64_t gpa = 0; // of its page
    bool writable = false;
    bool executable = false;
  };
  [[nodiscard]] std::optional<Meaning> walk(std::uint64_t address) const;

  // For the handler: whether the access may be tried again.
  [[nodiscard]] bool take_fault(std::uint64_t address, bool writes);

 private:
  using Table = std::array<std::uint64_t, 512>;

  [[nodiscard]] abi::Gpa make_table();
  void map_ram();
  [[nodiscard]] std::size_t index_of(abi::Pfn frame) const;
  [[nodiscard]] std::uint64_t arena_bytes() const { return ram_bytes_ + open_bytes; }

  std::uint64_t ram_bytes_;
  int file_;
  std::byte* content_;
  std::vector<bool> used_;
  std::uint64_t used_count_ = 0;
  std::size_t next_ = 0; // frames are looked for from there on
  std::map<std::uint64_t, std::unique_ptr<Table>> made_;
  std::uint64_t last_table_ = std::uint64_t{1} << 30;
  std::set<std::uint64_t> shown_; // pages that the processor has looked up
  abi::Gpa root_;
  guest::linux::PageTables tables_;
  guest::linux::AddressSpace* space_ = nullptr;
};

} // namespace test_support
