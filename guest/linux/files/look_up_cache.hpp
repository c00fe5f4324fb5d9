// SPDX-License-Identifier: MIT
// What the host has said of paths lately: what is there, what a link says, that nothing is there.
// Kept for a short time, because others may change what the program cannot. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/text.hpp"
#include "shared/file_call.hpp"

namespace guest::linux {

class LookUpCache {
 public:
  // As network file systems do it by default, at the least.
  static constexpr std::uint64_t lifetime_ns = 3'000'000'000;
  static constexpr std::size_t most_entries = 8192;

  struct Entry {
    Text path;
    std::uint64_t until_ns = 0;
    Or<abi::FileStat> stat = std::unexpected(0);
    Text link; // empty: not asked for
  };

  // Null: nothing is known. Valid until the next add().
  [[nodiscard]] Entry* find(std::string_view path, std::uint64_t now_ns);
  Entry& add(std::string_view path, const Or<abi::FileStat>& stat, std::uint64_t now_ns);

 private:
  [[nodiscard]] std::unique_ptr<Entry>& slot_of(std::string_view path);

  std::vector<std::unique_ptr<Entry>> slots_; // a power of two; open addressing
  std::size_t used_ = 0;
};

} // namespace guest::linux
