// SPDX-License-Identifier: MIT
// What the host says of a file that is open.
#pragma once

#include <sys/stat.h>

namespace vmm {

// fstat by number: the C library makes it a call that also takes paths, which the sandbox forbids.
// 0, or -1 with errno set.
[[nodiscard]] int fd_status(int fd, struct stat& status);

} // namespace vmm
