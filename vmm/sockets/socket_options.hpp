// SPDX-License-Identifier: MIT
// What of a connection's options a guest may have: abi::SocketOption and the kernel's.
#pragma once

#include <cstdint>
#include <span>

#include "shared/socket_call.hpp"

namespace vmm {

// An option of the kernel's; its value is an int.
struct KernelOption {
  int level = 0;
  int name = 0;
};
// All of them, for the sandbox, too, but for `linger`, whose value is no int.
struct OptionPair {
  abi::SocketOption guest{};
  KernelOption kernel;
};
[[nodiscard]] std::span<const OptionPair> option_pairs();

// 0, or the negative of an error number: EINVAL for one that there is not, and a value that is
// none.
[[nodiscard]] abi::CallResult set_kernel_option(int fd, std::uint32_t option, std::int64_t value);
// abi::SocketOption::linger: only whether close(2) throws away what has not been sent, as 0 says.
// For any longer it would wait, and the thread with it.
[[nodiscard]] abi::CallResult set_kernel_linger(int fd, std::int64_t seconds);
// The value, or likewise.
[[nodiscard]] abi::CallResult kernel_option(int fd, std::uint32_t option);

} // namespace vmm
