// SPDX-License-Identifier: MIT
// A Process (guest/linux/process) on the host: a few files of a host that is made up, a machine
// that stands still, and memory at the program's own addresses.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "guest/linux/process/system.hpp"
#include "tests/support/linux/hosted_contexts.hpp"
#include "tests/support/linux/hosted_memory.hpp"
#include "tests/support/linux/still_machine.hpp"

namespace test_support {

// Files of a host, by path, that can only be read; the streams, whose output is kept.
class MadeUpFiles final : public guest::linux::FilePort {
 public:
  explicit MadeUpFiles(const HostedMemory& memory) : memory_(memory) {}

  [[nodiscard]] abi::FileResult perform(const abi::FileCall& call) override {
    ++calls;
    auto* const buffer = memory_.at({call.buffer_gpa});
    const std::string path(reinterpret_cast<const char*>(memory_.at({call.path_gpa})),
                           call.path_bytes);
    const auto put = [&](const auto& what) -> abi::FileResult {
      std::memcpy(buffer, &what, sizeof what);
      return 0;
    };
    switch (call.operation) {
    case abi::FileOperation::open: {
      if (!content.contains(path)) {
        return -ENOENT;
      }
      if ((call.flags & abi::file_write) != 0 && !is_writable) {
        return -EROFS;
      }
      open_.push_back(path);
      return static_cast<abi::FileResult>(open_.size()) + 2;
    }
    case abi::FileOperation::read: {
      const std::string& from = call.file == 0 ? input : content.at(open_.at(call.file - 3));
      const std::uint64_t offset = call.file == 0 ? read_input_ : call.offset;
      const std::uint64_t bytes =
          std::min<std::uint64_t>(call.buffer_bytes, from.size() - std::min(from.size(), offset));
      std::memcpy(buffer, from.data() + std::min(from.size(), offset), bytes);
      read_input_ += call.file == 0 ? bytes : 0;
      return static_cast<abi::FileResult>(bytes);
    }
    case abi::FileOperation::write:
      if (call.file < 1 || call.file > 2) {
        return -EBADF;
      }
      output.append(reinterpret_cast<const char*>(buffer), call.buffer_bytes);
      return static_cast<abi::FileResult>(call.buffer_bytes);
    case abi::FileOperation::stat:
      return put(call.file < 3 ? abi::FileStat{.mode = S_IFIFO | 0600U}
                               : stat_of(open_.at(call.file - 3)));
    case abi::FileOperation::stat_path:
      if (path == "/") {
        return put(abi::FileStat{.device = 1, .links = 2, .mode = S_IFDIR | 0755U});
      }
      return content.contains(path) ? put(stat_of(path)) : -ENOENT;
    case abi::FileOperation::random:
      std::memset(buffer, 0x5a, call.buffer_bytes);
      return static_cast<abi::FileResult>(call.buffer_bytes);
    case abi::FileOperation::wait:
      return is_dry ? 0 : static_cast<abi::FileResult>(call.flags);
    case abi::FileOperation::watch:
      return 0;
    case abi::FileOperation::close:
      return 0;
    default:
      return -EINVAL;
    }
  }

  std::map<std::string, std::string> content;
  std::string input;
  std::string output;
  std::uint64_t calls = 0;
  bool is_dry = false;      // streams are ready for nothing
  bool is_writable = false; // files may be opened for writing; nothing is written

 private:
  [[nodiscard]] abi::FileStat stat_of(const std::string& path) const {
    return {.device = 1,
            .inode =
                2 + static_cast<std::uint64_t>(std::distance(content.begin(), content.find(path))),
            .links = 1,
            .bytes = content.at(path).size(),
            .mode = S_IFREG | 0755U,
            .block_bytes = 4096};
  }

  const HostedMemory& memory_;
  std::vector<std::string> open_;
  std::uint64_t read_input_ = 0;
};

// A program named `arguments[0]`, in the root directory.
class HostedProcess {
 public:
  static constexpr std::uint64_t ram_bytes = std::uint64_t{64} << 20;

  explicit HostedProcess(std::initializer_list<std::string_view> arguments = {"/program"},
                         std::string_view environment = "HOME=/")
      : files(memory) {
    for (const std::string_view text : {*arguments.begin(), std::string_view("/")}) {
      add(text);
    }
    for (const std::string_view text : arguments) {
      add(text);
    }
    add(environment);
    start.arguments = static_cast<std::uint32_t>(arguments.size());
    start.environment = 1;
    start.user = 1000;
    start.group = 1000;
    process.emplace(guest::linux::SystemParts{
        .start = start,
        .strings = strings_,
        .frames = memory,
        .tables = memory.tables(),
        .zones = memory.zones(),
        .files = files,
        .machine = machine,
        .contexts = contexts,
        .enter = {0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90},
        .vdso = {},
    });
    memory.serve(process->memory());
  }

  [[nodiscard]] auto load() { return process->load(HostedMemory::ram_start + ram_bytes / 2); }
  template <typename... Args> long call(long number, Args... args) {
    return process->answer({static_cast<std::uint64_t>(number), {word(args)...}});
  }

  HostedMemory memory{ram_bytes};
  MadeUpFiles files;
  StillMachine machine;
  HostedContexts contexts;
  abi::ProgramStart start;

 private:
  static std::uint64_t word(auto value) {
    if constexpr (std::is_pointer_v<decltype(value)>) {
      return reinterpret_cast<std::uint64_t>(value);
    } else {
      return static_cast<std::uint64_t>(value);
    }
  }
  void add(std::string_view text) { strings_.append(text).push_back('\0'); }

  std::string strings_;

 public:
  std::optional<guest::linux::System> process; // goes first
};

} // namespace test_support
