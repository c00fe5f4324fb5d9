// SPDX-License-Identifier: MIT
// A program's file descriptors: which number stands for which open file, and where in it the
// program is. Several descriptors may share one open file (dup). Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "guest/linux/elf_image.hpp"

namespace guest::linux {

enum class FileKind : std::uint8_t {
  stream,    // the host's: no position
  regular,   // the host's
  directory, // the host's
  null,      // /dev/null
  zero,      // /dev/zero
  random,    // /dev/random, /dev/urandom
  text,      // synthesised here
};

struct OpenFile {
  FileKind kind = FileKind::null;
  std::uint32_t host_number = 0; // of stream, regular and directory
  std::uint32_t open_flags = 0;  // O_ flags as the program gave them
  std::uint64_t position = 0;
  std::vector<char> path; // absolute, as the program opened it
  std::vector<char> text;
  std::uint32_t descriptors = 0; // that stand for it
};

class OpenFiles {
 public:
  static constexpr int max_descriptors = 1024;

  OpenFiles() = default;
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;
  ~OpenFiles();

  // Takes over the file. The lowest descriptor that is free and at least `lowest`; EMFILE.
  [[nodiscard]] Or<int> add(OpenFile* file, int lowest = 0);
  // Null: no such descriptor.
  [[nodiscard]] OpenFile* get(std::uint64_t descriptor) const;
  // One more descriptor for the same file; EBADF, EMFILE, EINVAL.
  [[nodiscard]] Or<int> duplicate(std::uint64_t descriptor, std::uint64_t lowest);
  // The file that nobody has any more, for the caller to end; null while somebody has it. EBADF.
  [[nodiscard]] Or<OpenFile*> remove(std::uint64_t descriptor);
  // FD_CLOEXEC.
  [[nodiscard]] bool closes_on_exec(std::uint64_t descriptor) const;
  void set_close_on_exec(std::uint64_t descriptor, bool closes);

 private:
  struct Slot {
    OpenFile* file = nullptr;
    bool close_on_exec = false;
  };
  std::vector<Slot> slots_;
};

} // namespace guest::linux
