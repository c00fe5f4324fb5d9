// SPDX-License-Identifier: MIT
#include "vmm/profile/debug_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <zlib.h>

#include "vmm/base/fd_status.hpp"

namespace vmm {
namespace {

constexpr std::string_view debug_folder = "/usr/lib/debug";
constexpr std::uint64_t most_section_bytes = 4096; // of an id or a link
// Checksums of larger files would keep the program waiting.
constexpr std::uint64_t most_checked_bytes = std::uint64_t{64} << 20;

// The bytes of an id, mostly of SHA-1; empty when there is none.
std::vector<std::byte> build_id(const ElfFile& file) {
  const auto section = file.section(".note.gnu.build-id", most_section_bytes);
  constexpr std::string_view owner("GNU", 4);
  Elf64_Nhdr note;
  constexpr std::size_t id_at = sizeof note + owner.size();
  if (section.size() < id_at) {
    return {};
  }
  std::memcpy(&note, section.data(), sizeof note);
  if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != owner.size() ||
      note.n_descsz > section.size() - id_at || note.n_descsz < 2 ||
      std::memcmp(section.data() + sizeof note, owner.data(), owner.size()) != 0) {
    return {};
  }
  const auto id = std::span(section).subspan(id_at, note.n_descsz);
  return {id.begin(), id.end()};
}

struct DebugLink {
  std::string name;
  std::uint32_t checksum = 0;
};

// Nothing when there is none: a name, its NUL, filled to four bytes, a checksum.
DebugLink debug_link(const ElfFile& file) {
  const auto section = file.section(".gnu_debuglink", most_section_bytes);
  const auto nul = std::ranges::find(section, std::byte{0});
  DebugLink link;
  const auto length = static_cast<std::size_t>(nul - section.begin());
  const std::size_t checksum_at =
      length / sizeof link.checksum * sizeof link.checksum + sizeof link.checksum;
  if (checksum_at + sizeof link.checksum > section.size()) {
    return {};
  }
  std::memcpy(&link.checksum, section.data() + checksum_at, sizeof link.checksum);
  link.name.assign(reinterpret_cast<const char*>(section.data()), length);
  // It is a name, not a way.
  return link.name.find('/') == std::string::npos ? link : DebugLink{};
}

bool has_checksum(const ElfFile& file, std::uint32_t wanted) {
  constexpr std::uint64_t piece = std::uint64_t{1} << 20;
  if (file.bytes() > most_checked_bytes) {
    return false;
  }
  uLong sum = ::crc32(0, nullptr, 0);
  for (std::uint64_t at = 0; at < file.bytes(); at += piece) {
    const auto bytes = file.array<std::byte>(at, std::min(piece, file.bytes() - at));
    if (bytes.empty()) {
      return false;
    }
    sum =
        ::crc32(sum, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  }
  return sum == wanted;
}

} // namespace

std::vector<std::string> debug_file_names(const ElfFile& file, const std::string& path) {
  std::vector<std::string> names;
  if (const auto id = build_id(file); !id.empty()) {
    std::string& name = names.emplace_back(debug_folder);
    name += fmt::format("/.build-id/{:02x}/", std::to_integer<unsigned>(id[0]));
    for (const std::byte byte : std::span(id).subspan(1)) {
      name += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    name += ".debug";
  }
  const std::string link = debug_link(file).name;
  if (!link.empty() && path.starts_with('/')) {
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    names.push_back(folder + link);
    names.push_back(folder + ".debug/" + link);
    names.push_back(std::string(debug_folder) + folder + link);
  }
  return names;
}

bool is_debug_file(const ElfFile& file, const ElfFile& other) {
  const auto id = build_id(file);
  return id.empty() ? has_checksum(other, debug_link(file).checksum) : build_id(other) == id;
}

ElfFile elf_file(UniqueFd fd) {
  struct stat is {};
  const bool is_file = fd_status(fd.get(), is) == 0 && S_ISREG(is.st_mode);
  const auto kept = std::make_shared<const UniqueFd>(std::move(fd));
  return {[kept](std::uint64_t offset, std::span<std::byte> to) {
            return ::pread(kept->get(), to.data(), to.size(), static_cast<off_t>(offset)) ==
                   static_cast<ssize_t>(to.size());
          },
          is_file ? static_cast<std::uint64_t>(is.st_size) : 0};
}

} // namespace vmm
