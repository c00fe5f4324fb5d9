// SPDX-License-Identifier: MIT
#include "guest/linux/files/synthetic_files.hpp"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "guest/linux/files/directory_entries.hpp"
#include "guest/linux/files/host_stream.hpp"
#include "guest/linux/files/random_bytes.hpp"
#include "guest/linux/files/terminal.hpp"
#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t device = 3;
constexpr std::string_view descriptors = "/proc/self/fd";

using Facts = SyntheticFacts;

// ---- the table ---------------------------------------------------------------------------------

enum class Kind : std::uint8_t { null, zero, full, random, tty, terminal, text, link };

struct Row {
  std::string_view path;
  Kind kind = Kind::text;
  std::string_view fixed{};             // a text, or what a link says
  Text (*made)(const Facts&) = nullptr; // instead of it
};

// Folders follow from the paths.
constexpr auto rows = std::to_array<Row>({
    {"/dev/null", Kind::null},
    {"/dev/zero", Kind::zero},
    {"/dev/full", Kind::full},
    {"/dev/random", Kind::random},
    {"/dev/urandom", Kind::random},
    {"/dev/tty", Kind::tty},
    {terminal_path, Kind::terminal},
    {"/dev/stdin", Kind::link, "/proc/self/fd/0"},
    {"/dev/stdout", Kind::link, "/proc/self/fd/1"},
    {"/dev/stderr", Kind::link, "/proc/self/fd/2"},
    {"/dev/fd", Kind::link, "/proc/self/fd"},
    {"/proc/cpuinfo", Kind::text, {}, cpu_text},
    {"/proc/filesystems", Kind::text, "nodev\ttmpfs\nnodev\tproc\n"},
    {"/proc/loadavg", Kind::text, "0.00 0.00 0.00 1/1 2\n"},
    {"/proc/meminfo", Kind::text, {}, memory_text},
    {"/proc/mounts", Kind::link, "self/mounts"},
    {"/proc/stat", Kind::text, {}, total_text},
    {"/proc/uptime", Kind::text, {}, uptime_text},
    {"/proc/version", Kind::text, "Linux version 6.1.0-ebb (ebb) #1 SMP Ebb\n"},
    {"/proc/self/cgroup", Kind::text, "0::/\n"},
    {"/proc/self/cmdline",
     Kind::text,
     {},
     [](const Facts& facts) { return facts.process.arguments(); }},
    {"/proc/self/comm",
     Kind::text,
     {},
     [](const Facts& facts) { return text_of(name_of(view(facts.process.program())), "\n"); }},
    {"/proc/self/cwd",
     Kind::link,
     {},
     [](const Facts& facts) {
       return facts.process.directory().empty() ? to_text("/") : facts.process.directory();
     }},
    {"/proc/self/environ",
     Kind::text,
     {},
     [](const Facts& facts) { return facts.process.environment(); }},
    {"/proc/self/exe", Kind::link, {}, [](const Facts& facts) { return facts.process.program(); }},
    {"/proc/self/limits", Kind::text, {}, limits_text},
    {"/proc/self/maps", Kind::text, {}, map_text},
    {"/proc/self/mounts", Kind::text, {}, mount_text},
    {"/proc/self/oom_score_adj", Kind::text, "0\n"},
    {"/proc/self/root", Kind::link, "/"},
    {"/proc/self/stat", Kind::text, {}, stat_text},
    {"/proc/self/statm", Kind::text, {}, statm_text},
    {"/proc/self/status", Kind::text, {}, status_text},
    {"/proc/sys/fs/file-max", Kind::text, "65536\n"},
    {"/proc/sys/fs/nr_open", Kind::text, "65536\n"},
    {"/proc/sys/fs/pipe-max-size", Kind::text, "65536\n"},
    {"/proc/sys/kernel/hostname", Kind::text, "ebb\n"},
    {"/proc/sys/kernel/ngroups_max", Kind::text, "65536\n"},
    {"/proc/sys/kernel/osrelease", Kind::text, "6.1.0-ebb\n"},
    {"/proc/sys/kernel/ostype", Kind::text, "Linux\n"},
    {"/proc/sys/kernel/pid_max", Kind::text, "32768\n"},
    {"/proc/sys/net/core/somaxconn", Kind::text, "4096\n"},
    {"/proc/sys/vm/max_map_count", Kind::text, "65530\n"},
    {"/proc/sys/vm/overcommit_memory", Kind::text, "0\n"},
    {"/sys/devices/system/clocksource/clocksource0/current_clocksource", Kind::text, "tsc\n"},
    {"/sys/devices/system/cpu/online", Kind::text, {}, online_text},
    {"/sys/devices/system/cpu/possible", Kind::text, {}, online_text},
    {"/sys/devices/system/cpu/present", Kind::text, {}, online_text},
    {"/sys/kernel/mm/transparent_hugepage/enabled", Kind::text, "always [madvise] never\n"},
    {"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", Kind::text, "2097152\n"},
});

// The process by its number is the same as "self".
Text by_self(std::string_view path, const Facts& facts) {
  const Text by_number = text_of("/proc/", static_cast<std::uint64_t>(facts.process.numbers().id));
  if (path == view(by_number) || is_below(path, view(by_number))) {
    return text_of("/proc/self", path.substr(by_number.size()));
  }
  return to_text(path);
}

const Row* find_row(std::string_view path, const Facts& facts) {
  const auto found = std::ranges::find(rows, path, &Row::path);
  const bool is_there =
      found != rows.end() && (found->kind != Kind::terminal || facts.terminal.has_value());
  return is_there ? &*found : nullptr;
}

bool is_folder(std::string_view path) {
  return path == descriptors ||
         std::ranges::any_of(rows, [path](const Row& row) { return is_below(row.path, path); });
}

Text text_of_row(const Row& row, const Facts& facts) {
  return row.made != nullptr ? row.made(facts) : to_text(row.fixed);
}

// The open file that a path in /proc/self/fd names; null: none.
const OpenFile* descriptor_at(std::string_view path, const OpenFiles& files) {
  if (!is_below(path, descriptors)) {
    return nullptr;
  }
  const std::string_view digits = path.substr(descriptors.size() + 1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc{} && end == digits.data() + digits.size() ? files.get(number) : nullptr;
}

abi::FileStat stat_of(std::uint64_t inode, std::uint32_t mode, const Facts& facts) {
  const bool own = !S_ISCHR(mode);
  return {.device = device,
          .inode = inode,
          .links = S_ISDIR(mode) ? std::uint64_t{2} : std::uint64_t{1},
          .mode = mode,
          .user = own ? facts.user : 0,
          .group = own ? facts.group : 0,
          .block_bytes = abi::page_bytes};
}

// As Linux numbers them (Documentation/admin-guide/devices.txt).
std::uint64_t special_device(const Row& row) {
  constexpr std::uint64_t memory = 1 << 8;
  switch (row.kind) {
  case Kind::null:
    return memory + 3;
  case Kind::zero:
    return memory + 5;
  case Kind::full:
    return memory + 7;
  case Kind::random:
    return memory + (row.path == "/dev/random" ? 8 : 9);
  case Kind::tty:
    return 5 << 8;
  case Kind::terminal:
  case Kind::text:
  case Kind::link:
    break;
  }
  return 0;
}

abi::FileStat stat_of_row(const Row& row, const Facts& facts) {
  if (row.kind == Kind::terminal) {
    return terminal_stat();
  }
  const auto inode = static_cast<std::uint64_t>(&row - rows.data()) + 2;
  const std::uint32_t mode = row.kind == Kind::text   ? S_IFREG | 0444U
                             : row.kind == Kind::link ? S_IFLNK | 0777U
                                                      : S_IFCHR | 0666U;
  abi::FileStat stat = stat_of(inode, mode, facts);
  stat.special_device = special_device(row);
  return stat;
}

// ---- open files --------------------------------------------------------------------------------

class TextFile final : public File {
 public:
  TextFile(Text text, const abi::FileStat& stat) : text_(std::move(text)), stat_(stat) {}

  [[nodiscard]] Or<abi::FileStat> stat() override { return stat_; }
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override {
    const std::uint64_t left = offset < text_.size() ? text_.size() - offset : 0;
    const std::uint64_t got = std::min<std::uint64_t>(left, to.size());
    std::memcpy(to.data(), text_.data() + (left == 0 ? 0 : offset), got);
    return got;
  }

 private:
  Text text_;
  abi::FileStat stat_;
};

class DeviceFile final : public File {
 public:
  DeviceFile(Kind kind, const abi::FileStat& stat, FilePort& port)
      : kind_(kind), stat_(stat), port_(port) {}

  [[nodiscard]] Or<abi::FileStat> stat() override { return stat_; }
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t /*offset*/, std::span<std::byte> to) override {
    if (kind_ == Kind::null) {
      return 0;
    }
    if (kind_ != Kind::random) {
      std::memset(to.data(), 0, to.size());
      return to.size();
    }
    return fill_with_random(port_, to);
  }
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t /*offset*/,
                                        std::span<const std::byte> from) override {
    return kind_ == Kind::full ? Or<std::uint64_t>(std::unexpected(ENOSPC)) : from.size();
  }
  [[nodiscard]] Or<std::uint64_t> append(std::span<const std::byte> from,
                                         std::uint64_t& end) override {
    end = 0;
    return write(0, from);
  }

 private:
  Kind kind_;
  abi::FileStat stat_;
  FilePort& port_;
};

class SyntheticFolder final : public File {
 public:
  SyntheticFolder(std::string_view path, const Facts& facts)
      : path_(to_text(path)), facts_(facts), stat_(stat_of(1, S_IFDIR | 0555U, facts)) {}

  [[nodiscard]] Or<abi::FileStat> stat() override { return stat_; }
  [[nodiscard]] bool is_folder() const override { return true; }
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t /*offset*/,
                                       std::span<std::byte> /*to*/) override {
    return std::unexpected(EISDIR);
  }
  // Positions are numbers of rows, or of descriptors.
  [[nodiscard]] Or<std::uint64_t> list(std::uint64_t& position, std::span<std::byte> to) override {
    constexpr std::uint64_t dots = 2;
    DirectoryEntries entries(to);
    const bool numbers = view(path_) == descriptors;
    const std::uint64_t end = dots + (numbers ? facts_.process.files().end() : rows.size());
    while (position < end) {
      std::uint8_t type = DT_DIR;
      const Text name = position < dots ? to_text(position == 0 ? "." : "..")
                        : numbers       ? descriptor_name(position - dots, type)
                                        : row_name(position - dots, type);
      if (!name.empty() && !entries.add(view(name), position + 1, type, position + 1)) {
        return entries.bytes() == 0 ? Or<std::uint64_t>(std::unexpected(EINVAL)) : entries.bytes();
      }
      ++position;
    }
    return entries.bytes();
  }

 private:
  [[nodiscard]] Text descriptor_name(std::uint64_t number, std::uint8_t& type) const {
    type = DT_LNK;
    return facts_.process.files().get(number) == nullptr ? Text{} : text_of(number);
  }
  // What the row has in this folder, unless a row before it had the same; empty: nothing.
  [[nodiscard]] Text row_name(std::uint64_t index, std::uint8_t& type) const {
    const std::string_view folder = view(path_);
    const auto name_in = [folder](std::string_view path) {
      const std::string_view below =
          is_below(path, folder) ? path.substr(folder.size() + 1) : std::string_view{};
      return below.substr(0, below.find('/'));
    };
    const Row& row = rows[index];
    const std::string_view name = name_in(row.path);
    if (row.kind == Kind::terminal && name == terminal_path.substr(terminal_path.rfind('/') + 1) &&
        !facts_.terminal) {
      return {};
    }
    for (std::uint64_t before = 0; before < index; ++before) {
      if (name_in(rows[before].path) == name) {
        return {};
      }
    }
    type = row.path.size() > folder.size() + 1 + name.size()
               ? std::uint8_t{DT_DIR}
               : entry_type(stat_of_row(row, facts_).mode);
    return to_text(name);
  }

  Text path_;
  const Facts& facts_;
  abi::FileStat stat_;
};

} // namespace

// ---- the file system ---------------------------------------------------------------------------

Or<abi::FileStat> SyntheticFiles::look_up(std::string_view given) {
  const Text whole = by_self(given, facts_);
  const std::string_view path = view(whole);
  if (const Row* const row = find_row(path, facts_)) {
    return stat_of_row(*row, facts_);
  }
  if (is_folder(path)) {
    return stat_of(1, S_IFDIR | 0555U, facts_);
  }
  if (descriptor_at(path, facts_.process.files()) != nullptr) {
    return stat_of(rows.size() + 2, S_IFLNK | 0777U, facts_);
  }
  return std::unexpected(ENOENT);
}

Or<Text> SyntheticFiles::link_text(std::string_view given) {
  const Text whole = by_self(given, facts_);
  const std::string_view path = view(whole);
  if (const OpenFile* const file = descriptor_at(path, facts_.process.files())) {
    return file->path.empty() ? text_of("stream:", name_of(path)) : file->path;
  }
  const Row* const row = find_row(path, facts_);
  if (row == nullptr) {
    return std::unexpected(is_folder(path) ? EINVAL : ENOENT);
  }
  return row->kind == Kind::link ? Or<Text>(text_of_row(*row, facts_)) : std::unexpected(EINVAL);
}

Or<File*> SyntheticFiles::open(std::string_view given, FileAccess access,
                               const abi::FileStat& stat) {
  const Text whole = by_self(given, facts_);
  const std::string_view path = view(whole);
  if (is_folder(path)) {
    return access == FileAccess::write ? Or<File*>(std::unexpected(EISDIR))
                                       : new SyntheticFolder(path, facts_);
  }
  const Row* const row = find_row(path, facts_);
  if (row == nullptr) {
    return std::unexpected(ENOENT);
  }
  switch (row->kind) {
  case Kind::tty:
  case Kind::terminal:
    return facts_.terminal ? Or<File*>(new HostStream(facts_.port, *facts_.terminal))
                           : std::unexpected(ENXIO);
  case Kind::link:
    return std::unexpected(ELOOP);
  case Kind::text:
    return access == FileAccess::write ? Or<File*>(std::unexpected(EACCES))
                                       : new TextFile(text_of_row(*row, facts_), stat);
  case Kind::null:
  case Kind::zero:
  case Kind::full:
  case Kind::random:
    break;
  }
  return new DeviceFile(row->kind, stat, facts_.port);
}

Or<abi::FileSpace> SyntheticFiles::space(std::string_view /*path*/) {
  return abi::FileSpace{
      .type = PROC_SUPER_MAGIC, .block_bytes = abi::page_bytes, .name_bytes = 255};
}

} // namespace guest::linux
