// SPDX-License-Identifier: MIT
// What a program can ask of a terminal (ioctl_tty(2)). Results are 0 or an error number of Linux.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string_view>

#include "guest/linux/base/error_number.hpp"
#include "shared/file_call.hpp"

namespace guest::linux {

class Terminal {
 public:
  [[nodiscard]] virtual Or<abi::TerminalMode> mode() = 0;
  [[nodiscard]] virtual int set_mode(const abi::TerminalMode& mode) = 0;
  [[nodiscard]] virtual Or<abi::TerminalSize> size() = 0;
  // `queues`: TCIFLUSH, TCOFLUSH or TCIOFLUSH.
  [[nodiscard]] virtual int flush(std::uint32_t queues) = 0;

 protected:
  Terminal() = default;
  ~Terminal() = default;
};

// The file that a terminal is.
inline constexpr std::string_view terminal_path = "/dev/pts/0";
[[nodiscard]] constexpr abi::FileStat terminal_stat() {
  constexpr std::uint64_t pts_device = 5;
  constexpr std::uint32_t tty_group = 5;
  return {.device = pts_device,
          .inode = 3,
          .links = 1,
          .mode = S_IFCHR | 0620U,
          .group = tty_group,
          .block_bytes = 1024,
          .special_device = 136 << 8};
}

} // namespace guest::linux
