// SPDX-License-Identifier: MIT
// Entries of a folder as getdents64 returns them, one behind the other in a program's buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "shared/file_call.hpp"

namespace guest::linux {

// The type of an entry (DT_ of Linux) for a mode.
[[nodiscard]] constexpr std::uint8_t entry_type(std::uint32_t mode) {
  return static_cast<std::uint8_t>((mode >> 12) & 15U);
}

class DirectoryEntries {
 public:
  explicit DirectoryEntries(std::span<std::byte> to) : to_(to) {}

  // False when it does not fit any more. `next` is the position behind the entry.
  [[nodiscard]] bool add(std::string_view name, std::uint64_t inode, std::uint8_t type,
                         std::uint64_t next);
  [[nodiscard]] std::uint64_t bytes() const { return used_; }

 private:
  std::span<std::byte> to_;
  std::uint64_t used_ = 0;
};

} // namespace guest::linux
