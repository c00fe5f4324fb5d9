// SPDX-License-Identifier: MIT
// What the files below /proc and /sys say (proc(5)), made of what is known of the program. Pure.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/base/text.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/file_tree.hpp"
#include "guest/linux/files/open_files.hpp"
#include "guest/linux/files/page_tree.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

// The process that asks.
class ShownProcess {
 public:
  struct Numbers {
    std::int32_t id = 0;
    std::int32_t parent = 0;
    std::int32_t group = 0;
    std::int32_t session = 0;
  };
  [[nodiscard]] virtual Numbers numbers() const = 0;
  [[nodiscard]] virtual const Text& program() const = 0;     // path of what runs
  [[nodiscard]] virtual const Text& arguments() const = 0;   // with a NUL behind each
  [[nodiscard]] virtual const Text& environment() const = 0; // likewise
  [[nodiscard]] virtual const Text& directory() const = 0;   // as FileTree::Place::path
  [[nodiscard]] virtual const OpenFiles& files() const = 0;

 protected:
  ShownProcess() = default;
  ~ShownProcess() = default;
};

// What is told there. All of it outlives the files.
struct SyntheticFacts {
  const ShownProcess& process;
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  Machine& machine;
  PagePool& pages;
  FilePort& port; // for random bytes
  const AddressSpace& memory;
  const FileTree& tree;
  std::optional<std::uint32_t> terminal; // which stream is one
};

[[nodiscard]] Text memory_text(const SyntheticFacts& facts); // /proc/meminfo
[[nodiscard]] Text cpu_text(const SyntheticFacts& facts);    // /proc/cpuinfo
[[nodiscard]] Text map_text(const SyntheticFacts& facts);    // /proc/self/maps
[[nodiscard]] Text status_text(const SyntheticFacts& facts); // /proc/self/status
[[nodiscard]] Text stat_text(const SyntheticFacts& facts);   // /proc/self/stat
[[nodiscard]] Text statm_text(const SyntheticFacts& facts);  // /proc/self/statm
[[nodiscard]] Text mount_text(const SyntheticFacts& facts);  // /proc/mounts
[[nodiscard]] Text uptime_text(const SyntheticFacts& facts); // /proc/uptime
[[nodiscard]] Text limits_text(const SyntheticFacts& facts); // /proc/self/limits
[[nodiscard]] Text online_text(const SyntheticFacts& facts); // /sys/devices/system/cpu/online
[[nodiscard]] Text total_text(const SyntheticFacts& facts);  // /proc/stat

// The last part of a path.
[[nodiscard]] inline std::string_view name_of(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

inline void put(Text& to, std::string_view text) {
  append(to, text);
}
inline void put(Text& to, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  append(to, {digits.data(), static_cast<std::size_t>(end - digits.data())});
}
struct Hex {
  std::uint64_t number;
};
inline void put(Text& to, Hex hex) {
  std::array<char, 16> digits{};
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), hex.number, 16);
  const auto count = static_cast<std::size_t>(end - digits.data());
  for (std::size_t zeros = count; zeros < 8; ++zeros) {
    to.push_back('0');
  }
  append(to, {digits.data(), count});
}
// Texts and numbers, one behind the other.
template <typename... Parts> Text text_of(const Parts&... parts) {
  Text text;
  (put(text, parts), ...);
  return text;
}

} // namespace guest::linux
