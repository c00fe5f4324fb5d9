// SPDX-License-Identifier: MIT
#include "vmm/base/fd_status.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace vmm {

int fd_status(int fd, struct stat& status) {
  return static_cast<int>(::syscall(SYS_fstat, fd, &status));
}

} // namespace vmm
