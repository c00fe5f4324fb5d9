// SPDX-License-Identifier: MIT
// What the host says of a file, by its descriptor, as the guest is told it.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <span>

#include "shared/file_call.hpp"

namespace vmm {

// An abi::FileStat of the file into `to`: 0, or the negative of an error number; EINVAL when it is
// too short.
[[nodiscard]] abi::FileResult put_file_stat(int fd, std::span<std::byte> to);
// The same of an abi::FileSpace of the file system that it is in.
[[nodiscard]] abi::FileResult put_file_space(int fd, std::span<std::byte> to);

} // namespace vmm
