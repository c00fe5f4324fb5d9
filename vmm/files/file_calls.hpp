// SPDX-License-Identifier: MIT
// Carries out file calls of a guest (shared/file_call.hpp): the only place where what a program in
// the guest says reaches the host's file system.
//
// A call is a private copy. Numbers index a table of our own; paths are resolved by openat2 beneath
// directories that were opened before the guest ran, as after chroot and without magic links; only
// regular files and directories of ordinary file systems are opened. Anything else is answered with
// an error number; it is never an error of the host's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "shared/file_call.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/files/file_mounts.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

[[nodiscard]] inline bool has(const abi::FileCall& call, std::uint32_t flag) {
  return (call.flags & flag) != 0;
}

class FileCalls {
 public:
  // A file that has code.
  struct CodeFile {
    int fd = -1;
    const std::string& path; // as the guest called it
    std::uint64_t device = 0, inode = 0, bytes = 0;
    // Another regular file of the guest's, to be read; not valid when there is none of this name.
    std::function<UniqueFd(const std::string& path)> open{};
  };
  // What a guest may want beside files; ENOSYS where there is nobody for it. On the calling thread.
  struct Wishes {
    std::function<void(std::uint32_t stream, short events)> watch; // StreamWatch::watch
    std::function<void()> stop; // returns when the process goes on
    // Part of an open file is code of the program's; for the call.
    std::function<void(const CodeFile& file, const abi::FileCall& call)> code{};
  };

  // `memory` outlives this. `stop_fd` becomes readable when the guest ends: streams wait no longer
  // then.
  FileCalls(FileMounts mounts, const GuestMemory& memory, int stop_fd, Wishes wishes)
      : mounts_(std::move(mounts)), memory_(memory), stop_fd_(stop_fd), wishes_(std::move(wishes)),
        files_(abi::max_open_files) {}

  // On one thread. Negative error numbers for whatever is wrong with the call.
  [[nodiscard]] abi::FileResult perform(const abi::FileCall& call);

 private:
  static constexpr std::uint32_t streams = 3;

  struct OpenFile {
    UniqueFd fd;
    MountAccess place = MountAccess::read_only; // of the directory that it is in
    MountAccess opened = MountAccess::read_only;
    bool appends = false; // as the descriptor is set
    std::string path{};   // as the guest called it, where somebody wants to know
  };

  [[nodiscard]] abi::FileResult path_of(std::uint64_t gpa, std::uint64_t bytes,
                                        std::string& path) const;
  // The memory that a call names, or nothing; perform() has checked it.
  [[nodiscard]] std::span<std::byte> buffer_of(const abi::FileCall& call) const;
  // The descriptor behind a number; -1 when there is none.
  [[nodiscard]] int fd_of(std::uint32_t number) const;
  // Of a number that `open` gave.
  [[nodiscard]] int opened_fd_of(std::uint32_t number) const;

  [[nodiscard]] abi::FileResult open(const abi::FileCall& call);
  [[nodiscard]] abi::FileResult open_located(const FileMounts::Place& place,
                                             const abi::FileCall& call, UniqueFd& file) const;
  [[nodiscard]] static abi::FileResult open_temporary(const FileMounts::Place& place,
                                                      const abi::FileCall& call, UniqueFd& file);
  [[nodiscard]] abi::FileResult close(const abi::FileCall& call);
  [[nodiscard]] abi::FileResult read(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult write(const abi::FileCall& call);
  // False with errno where the host does not let it.
  [[nodiscard]] static bool set_append(OpenFile& file, bool appends);
  [[nodiscard]] abi::FileResult random(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult truncate(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult sync(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult allocate(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult code(const abi::FileCall& call) const;

  // file_calls_streams.cpp
  enum class Waiting : std::uint8_t { no, yes };
  [[nodiscard]] static Waiting stream_waiting(const abi::FileCall& call);
  [[nodiscard]] abi::FileResult wait_for(int fd, short events, Waiting waiting) const;
  [[nodiscard]] abi::FileResult read_stream(int fd, std::span<std::byte> buffer,
                                            Waiting waiting) const;
  [[nodiscard]] abi::FileResult write_stream(int fd, std::span<const std::byte> buffer,
                                             Waiting waiting) const;
  [[nodiscard]] abi::FileResult wait(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult watch(const abi::FileCall& call) const;
  [[nodiscard]] static abi::FileResult seek(const abi::FileCall& call);
  [[nodiscard]] static abi::FileResult readable_bytes(const abi::FileCall& call);
  [[nodiscard]] abi::FileResult stop() const;
  [[nodiscard]] abi::FileResult terminal(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult terminal_mode(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult set_terminal_mode(const abi::FileCall& call) const;
  [[nodiscard]] static abi::FileResult flush_terminal(const abi::FileCall& call);

  // file_calls_names.cpp
  [[nodiscard]] abi::FileResult place_of(std::uint64_t gpa, std::uint64_t bytes,
                                         FileMounts::Place& place) const;
  [[nodiscard]] static abi::FileResult folder_of(const FileMounts::Place& place,
                                                 FileMounts::Parent& parent);
  [[nodiscard]] abi::FileResult name_of(std::uint64_t gpa, std::uint64_t bytes,
                                        FileMounts::Parent& parent) const;
  [[nodiscard]] abi::FileResult two_names(const abi::FileCall& call, FileMounts::Parent& from,
                                          FileMounts::Parent& to) const;
  [[nodiscard]] abi::FileResult stat(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult stat_path(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult read_link(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult list(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult seek_list(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult make_directory(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult remove(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult rename(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult link(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult make_link(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult set_attributes(const abi::FileCall& call) const;
  [[nodiscard]] abi::FileResult space(const abi::FileCall& call) const;

  FileMounts mounts_;
  const GuestMemory& memory_;
  int stop_fd_;
  Wishes wishes_;
  std::vector<OpenFile> files_;         // never grows; those of streams stay empty
  std::ptrdiff_t first_free_ = streams; // none below it is free
};

} // namespace vmm
