// SPDX-License-Identifier: MIT
// Which of a program's files are one and the same, by whatever name: a hard or symbolic link, or a
// path to what does not exist yet.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/result.hpp"

namespace vmm {

struct NamedFile {
  enum class Use : std::uint8_t { read, written };
  std::string what; // what the user knows it as: "--trace", "the image"
  std::string path;
  Use use = Use::read;
};

// User error when a file that is written to is any other of them, too. Pipes and character devices
// may be shared. What cannot be looked at is for its opening to refuse. Opens nothing.
[[nodiscard]] Result<void> refuse_shared_files(std::span<const NamedFile> files);

} // namespace vmm
