// SPDX-License-Identifier: MIT
#include "guest/linux/synthetic_files.hpp"

#include <array>
#include <charconv>

namespace guest::linux {

namespace {

bool is_below(std::string_view path, std::string_view place) {
  return path == place || (path.starts_with(place) && path[place.size()] == '/');
}

OpenFile* make(FileKind kind) {
  auto* const file = new OpenFile;
  file->kind = kind;
  return file;
}

void append(OpenFile& file, std::string_view text) {
  file.text.insert(file.text.end(), text.begin(), text.end());
}

void append(OpenFile& file, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  append(file, {digits.data(), static_cast<std::size_t>(end - digits.data())});
}

// Texts and numbers, one behind the other.
template <typename... Parts> OpenFile* make_text(const Parts&... parts) {
  OpenFile* const file = make(FileKind::text);
  (append(*file, parts), ...);
  return file;
}

} // namespace

bool is_synthetic_place(std::string_view path) {
  constexpr std::array<std::string_view, 3> places{"/dev", "/proc", "/sys"};
  for (const std::string_view place : places) {
    if (is_below(path, place)) {
      return true;
    }
  }
  return false;
}

OpenFile* open_synthetic(std::string_view path, const SyntheticFacts& facts) {
  if (path == "/dev/null") {
    return make(FileKind::null);
  }
  if (path == "/dev/zero") {
    return make(FileKind::zero);
  }
  if (path == "/dev/urandom" || path == "/dev/random") {
    return make(FileKind::random);
  }
  if (path == "/proc/meminfo") {
    return make_text("MemTotal:       ", facts.ram_bytes >> 10,
                     " kB\nMemFree:        ", facts.free_bytes >> 10,
                     " kB\nMemAvailable:   ", facts.free_bytes >> 10,
                     " kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n");
  }
  if (path == "/proc/sys/vm/overcommit_memory") {
    return make_text("0\n");
  }
  if (path == "/proc/self/statm") {
    const std::uint64_t pages = facts.memory->mapped_bytes() / abi::page_bytes;
    return make_text(pages, " ", pages, " 0 0 0 ", pages, " 0\n");
  }
  return nullptr;
}

std::string_view synthetic_link(std::string_view path, const SyntheticFacts& facts) {
  return path == "/proc/self/exe" ? facts.program : std::string_view{};
}

} // namespace guest::linux
