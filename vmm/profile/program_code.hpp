// SPDX-License-Identifier: MIT
// What a Linux program in the guest has as code: which file, and where of it, lies at an address.
// It is what the guest says; the files are the host's, opened by number, and are read within
// bounds, whatever they hold.
//
// Processes of a guest share an address space: what was said last of an address counts, so that of
// two that are forked and have different code there, one has the other's names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "vmm/base/symbols.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

// Whether lines of source are told, out of debug information.
enum class CodeLines : std::uint8_t { no, read };

// A part of an open file of the host's, at an address of a program's.
struct CodeMapping {
  int fd = -1; // for the call
  std::string path;
  std::uint64_t device = 0, inode = 0; // which file it is
  std::uint64_t file_bytes = 0;
  std::uint64_t address = 0;
  std::uint64_t offset = 0; // in the file
  std::uint64_t bytes = 0;
  // Opens a regular file as the guest would, to be read; for the call. Of which there is none: an
  // invalid descriptor.
  std::function<UniqueFd(const std::string& path)> open{};
};

class ProgramCode {
 public:
  // Beyond, nothing is known of what is mapped.
  static constexpr std::size_t most_files = 1024;
  static constexpr std::size_t most_mappings = 65'536;
  static constexpr std::uint64_t most_symbol_bytes = std::uint64_t{256} << 20; // of all files
  static constexpr std::uint64_t most_line_bytes = std::uint64_t{256} << 20;
  static constexpr std::size_t most_debug_files = 64; // which stay open

  explicit ProgramCode(CodeLines lines) : lines_(lines) {}

  // Any thread. Reads a file's symbols when it is new.
  void add(const CodeMapping& mapping);

  // An address as a place in a file, which means the same when something else lies there later. The
  // address itself where no program has code; of one that no code can have nothing is known. Any
  // thread.
  [[nodiscard]] std::uint64_t place_of(std::uint64_t address) const;
  // What a place lies in: a function, or where the file has none, "[libc.so.6]"; empty when the
  // place is no file's.
  [[nodiscard]] std::string function_at(std::uint64_t place) const;
  // "src/main.c:12"; empty when that is not known, or nobody wanted lines. Of the file itself or of
  // one that has its debug information, which are read when they are asked first.
  [[nodiscard]] std::string line_at(std::uint64_t place) const;

 private:
  struct File {
    std::uint64_t device = 0, inode = 0;
    std::string name;
    Symbols symbols;
  };
  struct Mapping {
    std::uint64_t end = 0;
    std::uint64_t place = 0; // of its first byte
  };

  // Which it is of files_; most_files: there are too many.
  [[nodiscard]] std::size_t file_of_locked(const CodeMapping& mapping);
  void cut_locked(std::uint64_t start, std::uint64_t end);
  [[nodiscard]] Symbols symbols_of_locked(const CodeMapping& mapping);

  const CodeLines lines_;
  mutable std::mutex mutex_; // guards all below
  std::vector<File> files_;
  std::map<std::uint64_t, Mapping> mappings_; // by address, disjoint
  std::uint64_t symbol_bytes_ = 0;
  std::size_t debug_files_ = 0;
  mutable std::uint64_t line_bytes_ = 0;
};

} // namespace vmm
