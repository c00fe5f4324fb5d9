// SPDX-License-Identifier: MIT
// What an ELF file asks for, read from its first bytes and checked as execve of Linux does: System
// V ABI, chapters 4 and 5, and its x86-64 supplement. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/protection.hpp"

namespace guest::linux {

struct ElfSegment {
  std::uint64_t address = 0; // relative to the place that is chosen for a movable image
  std::uint64_t memory_bytes = 0;
  std::uint64_t file_offset = 0;
  std::uint64_t file_bytes = 0; // the rest of memory_bytes is zero
  Protection protection = protection_none;
};

class ElfImage {
 public:
  static constexpr std::size_t max_segments = 16;
  // Linux takes program headers of up to a page.
  static constexpr std::size_t max_headers = 73;

  // Where the program headers lie in a file that begins with `head`, at least 64 bytes.
  struct HeaderTable {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  // ENOEXEC for anything but a 64-bit x86 executable or shared object.
  [[nodiscard]] static Or<HeaderTable> header_table(std::span<const std::byte> head);
  // `headers` are the bytes that header_table() named.
  [[nodiscard]] static Or<ElfImage> parse(std::span<const std::byte> head,
                                          std::span<const std::byte> headers);

  // Whether it may lie anywhere (position independent), or must be where its segments say.
  [[nodiscard]] bool movable() const { return movable_; }
  [[nodiscard]] std::span<const ElfSegment> segments() const { return {segments_.data(), count_}; }
  // Whole pages that enclose all segments.
  [[nodiscard]] std::uint64_t start() const { return start_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] std::uint64_t entry() const { return entry_; }
  // Address and number of the program headers, as a program finds them in memory; address 0 when
  // no segment holds them.
  [[nodiscard]] std::uint64_t headers_address() const { return headers_address_; }
  [[nodiscard]] std::uint16_t headers() const { return headers_; }
  // Path of the dynamic linker in the file, NUL included; 0 bytes when there is none.
  [[nodiscard]] std::uint64_t linker_offset() const { return linker_offset_; }
  [[nodiscard]] std::uint64_t linker_bytes() const { return linker_bytes_; }

 private:
  [[nodiscard]] int add_segment(const ElfSegment& segment);

  std::array<ElfSegment, max_segments> segments_{};
  std::size_t count_ = 0;
  bool movable_ = false;
  std::uint64_t start_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t entry_ = 0;
  std::uint64_t headers_address_ = 0;
  std::uint16_t headers_ = 0;
  std::uint64_t linker_offset_ = 0;
  std::uint64_t linker_bytes_ = 0;
};

} // namespace guest::linux
