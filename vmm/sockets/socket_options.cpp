// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_options.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "vmm/calls/call_result.hpp"

namespace vmm {
namespace {

using abi::SocketOption;

constexpr std::array pairs{
    OptionPair{SocketOption::no_delay, {IPPROTO_TCP, TCP_NODELAY}},
    OptionPair{SocketOption::cork, {IPPROTO_TCP, TCP_CORK}},
    OptionPair{SocketOption::keep_alive, {SOL_SOCKET, SO_KEEPALIVE}},
    OptionPair{SocketOption::keep_idle, {IPPROTO_TCP, TCP_KEEPIDLE}},
    OptionPair{SocketOption::keep_interval, {IPPROTO_TCP, TCP_KEEPINTVL}},
    OptionPair{SocketOption::keep_count, {IPPROTO_TCP, TCP_KEEPCNT}},
    OptionPair{SocketOption::user_timeout, {IPPROTO_TCP, TCP_USER_TIMEOUT}},
    OptionPair{SocketOption::quick_ack, {IPPROTO_TCP, TCP_QUICKACK}},
    OptionPair{SocketOption::send_bytes, {SOL_SOCKET, SO_SNDBUF}},
    OptionPair{SocketOption::receive_bytes, {SOL_SOCKET, SO_RCVBUF}},
    OptionPair{SocketOption::out_of_band_inline, {SOL_SOCKET, SO_OOBINLINE}},
};

const OptionPair* pair_of(std::uint32_t option) {
  const auto* const found = std::ranges::find(pairs, SocketOption{option}, &OptionPair::guest);
  return found == pairs.end() ? nullptr : found;
}

// The kernel doubles what it is told, for its own needs, and says so when it is asked.
bool is_doubled(SocketOption option) {
  return option == SocketOption::send_bytes || option == SocketOption::receive_bytes;
}

} // namespace

std::span<const OptionPair> option_pairs() {
  return pairs;
}

abi::CallResult set_kernel_option(int fd, std::uint32_t option, std::int64_t value) {
  const OptionPair* const pair = pair_of(option);
  if (pair == nullptr || value < 0 || value > std::numeric_limits<int>::max()) {
    return -EINVAL;
  }
  const int told = static_cast<int>(is_doubled(pair->guest) ? value / 2 : value);
  return ::setsockopt(fd, pair->kernel.level, pair->kernel.name, &told, sizeof told) == 0
             ? 0
             : failed();
}

abi::CallResult set_kernel_linger(int fd, std::int64_t seconds) {
  const linger at_close{.l_onoff = seconds == 0 ? 1 : 0, .l_linger = 0};
  return ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_close, sizeof at_close) == 0 ? 0 : failed();
}

abi::CallResult kernel_option(int fd, std::uint32_t option) {
  const OptionPair* const pair = pair_of(option);
  if (pair == nullptr) {
    return -EINVAL;
  }
  int value = 0;
  socklen_t bytes = sizeof value;
  return ::getsockopt(fd, pair->kernel.level, pair->kernel.name, &value, &bytes) == 0 ? value
                                                                                      : failed();
}

} // namespace vmm
