// SPDX-License-Identifier: MIT
// What calls read and write in the program's memory: checked as Linux checks it, once, so that a
// bad address is the program's EFAULT. Addresses and sizes are what the program has passed, any
// numbers at all. What is returned as a span or a string is the program's memory itself: it stands
// until the call waits, when another thread may change or unmap it.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/protection.hpp"
#include "guest/linux/base/text.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

class UserMemory {
 public:
  // As Linux moves at once.
  static constexpr std::uint64_t max_transfer_bytes = 0x7ffff000;

  // `memory` outlives this.
  explicit UserMemory(AddressSpace& memory) : memory_(memory) {}

  // Whether the program has rights to all of it.
  [[nodiscard]] bool may_read(std::uint64_t address, std::uint64_t bytes) const;
  [[nodiscard]] bool may_write(std::uint64_t address, std::uint64_t bytes) const;

  // Copies an object in, or out. False: it may not be, and nothing is.
  template <typename T> [[nodiscard]] bool fetch(std::uint64_t address, T& to) const {
    if (!may_read(address, sizeof(T))) {
      return false;
    }
    std::memcpy(&to, reinterpret_cast<const void*>(address), sizeof(T)); // NOLINT
    return true;
  }
  template <typename T> [[nodiscard]] bool store(std::uint64_t address, const T& from) const {
    if (!may_write(address, sizeof(T))) {
      return false;
    }
    std::memcpy(reinterpret_cast<void*>(address), &from, sizeof(T)); // NOLINT
    return true;
  }

  // A word becomes what changed(it) is, in one step for threads on other vCPUs. What it was;
  // EFAULT: it may not be, or is no word at all.
  template <typename Changed>
  [[nodiscard]] Or<std::uint32_t> change_word(std::uint64_t address, Changed changed) const {
    std::uint32_t before = 0;
    if (address % sizeof before != 0 || !may_write(address, sizeof before)) {
      return std::unexpected(EFAULT);
    }
    std::atomic_ref word(*reinterpret_cast<std::uint32_t*>(address)); // NOLINT
    before = word.load();
    while (!word.compare_exchange_weak(before, changed(before))) {
    }
    return before;
  }

  // Memory that the program may write to, or read; EFAULT.
  [[nodiscard]] Or<std::span<std::byte>> room_at(std::uint64_t address, std::uint64_t bytes) const;
  [[nodiscard]] Or<std::span<const std::byte>> data_at(std::uint64_t address,
                                                       std::uint64_t bytes) const;

  // As much of it as there is, for what may be moved in part, and at most max_transfer_bytes;
  // EFAULT when that is nothing, or no program's addresses go so far.
  [[nodiscard]] Or<std::span<std::byte>> room_from(std::uint64_t address,
                                                   std::uint64_t bytes) const;
  [[nodiscard]] Or<std::span<const std::byte>> data_from(std::uint64_t address,
                                                         std::uint64_t bytes) const;
  // How many bytes that is; 0: none.
  [[nodiscard]] std::uint64_t part_at(std::uint64_t address, std::uint64_t bytes,
                                      Protection rights) const;

  // A path of the program's; EFAULT, ENAMETOOLONG.
  [[nodiscard]] Or<std::string_view> path_at(std::uint64_t address) const;
  // A string of at most `longest` bytes without its NUL; EFAULT, or `too_long`.
  [[nodiscard]] Or<std::string_view> string_at(std::uint64_t address, std::uint64_t longest,
                                               int too_long) const;
  // Adds the strings, with their NULs, that an array of pointers with a null at its end names, and
  // says how many; `bytes` is what may be added still, pointers included. 0, EFAULT, E2BIG.
  [[nodiscard]] int add_strings(std::uint64_t array, Text& to, std::uint32_t& count,
                                std::uint64_t& bytes) const;
  // An array of `count` vectors, each of which lies where a program's addresses are; what they
  // name is not looked at. EINVAL, EFAULT.
  [[nodiscard]] Or<std::vector<iovec>> vectors_at(std::uint64_t address, std::uint64_t count) const;

 private:
  AddressSpace& memory_;
};

} // namespace guest::linux
