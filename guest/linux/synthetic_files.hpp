// SPDX-License-Identifier: MIT
// Files below /dev, /proc and /sys: made here, never the host's. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "guest/linux/address_space.hpp"
#include "guest/linux/open_files.hpp"

namespace guest::linux {

struct SyntheticFacts {
  std::string_view program; // path of the running program
  std::uint64_t ram_bytes = 0;
  std::uint64_t free_bytes = 0;
  const AddressSpace* memory = nullptr;
};

// Whether a path lies where nothing is the host's.
[[nodiscard]] bool is_synthetic_place(std::string_view path);
// A new file, for the caller to keep or delete; null: there is none of that path.
[[nodiscard]] OpenFile* open_synthetic(std::string_view path, const SyntheticFacts& facts);
// The text of a symbolic link there; empty: there is none.
[[nodiscard]] std::string_view synthetic_link(std::string_view path, const SyntheticFacts& facts);

} // namespace guest::linux
