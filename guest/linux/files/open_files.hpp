// SPDX-License-Identifier: MIT
// A program's file descriptors: which number stands for which open file, and where in it the
// program is. Several descriptors may share one open file (dup). Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/base/text.hpp"
#include "guest/linux/files/file.hpp"

namespace guest::linux {

// A call that waits for it holds it, so that it stays when its descriptors are closed meanwhile.
struct OpenFile : std::enable_shared_from_this<OpenFile> {
  OpenFile(File* what, std::uint32_t flags, Text name)
      : file(what), open_flags(flags), path(std::move(name)) {}

  [[nodiscard]] bool may_read() const;
  [[nodiscard]] bool may_write() const;

  std::shared_ptr<File> file; // also of the memory that shows it
  std::uint32_t open_flags;   // O_ flags as the program gave them
  std::uint64_t position = 0;
  Text path; // absolute, without links and dots; empty: it has none
  enum class Lock : std::uint8_t { none, shared, exclusive };
  Lock lock = Lock::none;        // flock
  std::uint32_t descriptors = 0; // that stand for it
};

class OpenFiles {
 public:
  static constexpr int max_descriptors = 65536;
  static constexpr int usual_descriptors = 1024; // the limit that a program begins with

  OpenFiles() = default;
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;
  ~OpenFiles();

  // Takes over the file, also when it fails. The lowest descriptor that is free and at least
  // `lowest`; EMFILE.
  [[nodiscard]] Or<int> add(std::shared_ptr<OpenFile> file, int lowest = 0);
  // Null: no such descriptor.
  [[nodiscard]] OpenFile* get(std::uint64_t descriptor) const;
  // The same; it stays open for as long as the caller holds it, whatever is closed.
  [[nodiscard]] std::shared_ptr<OpenFile> share(std::uint64_t descriptor) const;
  // One more descriptor for the same file; EBADF, EMFILE, EINVAL.
  [[nodiscard]] Or<int> duplicate(std::uint64_t descriptor, std::uint64_t lowest);
  // 0, or EBADF. The file is closed with its last descriptor; an error of File::write_out() is told
  // then, and the descriptor is gone all the same.
  [[nodiscard]] int remove(std::uint64_t descriptor);
  // The same descriptors for the same files as `others`, where there are none yet.
  void share_all(const OpenFiles& others);
  // FD_CLOEXEC.
  [[nodiscard]] bool closes_on_exec(std::uint64_t descriptor) const;
  void set_close_on_exec(std::uint64_t descriptor, bool closes);
  // Whether another would be EMFILE.
  [[nodiscard]] bool is_full() const { return !free_slot(0); }
  // Descriptors from now on are less than that (RLIMIT_NOFILE), and than max_descriptors.
  void set_limit(std::uint64_t limit) { limit_ = std::min(limit, std::uint64_t{max_descriptors}); }
  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  // One above the highest descriptor.
  [[nodiscard]] std::uint64_t end() const { return slots_.size(); }

 private:
  struct Slot {
    std::shared_ptr<OpenFile> file;
    bool close_on_exec = false;
  };
  // EMFILE.
  [[nodiscard]] Or<std::uint64_t> free_slot(std::uint64_t lowest) const;

  std::vector<Slot> slots_;
  std::uint64_t first_free_ = 0; // none below it is free
  std::uint64_t limit_ = usual_descriptors;
};

} // namespace guest::linux
