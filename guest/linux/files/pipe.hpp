// SPDX-License-Identifier: MIT
// Pipes within the guest: those of pipe(2), and those that have names. Pure.
#pragma once

#include <cstdint>
#include <memory>

#include "guest/linux/files/file.hpp"

namespace guest::linux {

struct PipeEnds {
  File* reader = nullptr;
  File* writer = nullptr;
};

// Both belong to the caller; the pipe goes with the last of them. `inode` tells pipes apart.
[[nodiscard]] PipeEnds make_pipe(std::uint64_t inode);

enum class PipeAccess : std::uint8_t { read, write, both };

// Where those who open a pipe by its name find each other; what is in it goes with the last of
// them.
class NamedPipe {
 public:
  // The caller's. `named` answers for what the name shows: times, owner, rights; taken over. It is
  // `file_met` once somebody has had the other end open since.
  [[nodiscard]] File* open(PipeAccess access, File* named);

 private:
  std::weak_ptr<struct Pipe> pipe_;
};

} // namespace guest::linux
