// SPDX-License-Identifier: MIT
// What getsockopt and setsockopt ask of sockets.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "guest/linux/process/socket_calls.hpp"
#include "guest/linux/process/times.hpp"
#include "guest/linux/sockets/local_socket.hpp"

namespace guest::linux {

namespace {

bool is_internet(const Socket& socket) {
  return socket.traits().family != AF_UNIX;
}

// Those whose value is an int for the host, too.
std::optional<abi::SocketOption> host_option(std::uint64_t level, std::uint64_t option) {
  using Option = abi::SocketOption;
  if (level == SOL_SOCKET) {
    return option == SO_KEEPALIVE   ? std::optional(Option::keep_alive)
           : option == SO_OOBINLINE ? std::optional(Option::out_of_band_inline)
                                    : std::nullopt;
  }
  switch (option) {
  case TCP_NODELAY:
    return Option::no_delay;
  case TCP_CORK:
    return Option::cork;
  case TCP_KEEPIDLE:
    return Option::keep_idle;
  case TCP_KEEPINTVL:
    return Option::keep_interval;
  case TCP_KEEPCNT:
    return Option::keep_count;
  case TCP_USER_TIMEOUT:
    return Option::user_timeout;
  case TCP_QUICKACK:
    return Option::quick_ack;
  default:
    return std::nullopt;
  }
}

// Linux takes twice of what is asked, within bounds.
std::uint64_t buffer_bytes(std::int32_t wanted) {
  const auto most = static_cast<std::int64_t>(SocketTraits::usual_bytes);
  const std::int64_t twice = std::clamp<std::int64_t>(wanted, 0, most) * 2;
  return std::max(static_cast<std::uint64_t>(twice), LocalSocket::least_bytes);
}

timeval timeval_of(std::uint64_t timeout_ns) {
  const std::uint64_t ns = timeout_ns == wait_for_ever ? 0 : timeout_ns;
  return {.tv_sec = static_cast<std::int64_t>(ns / ns_per_second),
          .tv_usec = static_cast<std::int64_t>(ns % ns_per_second / ns_per_us)};
}

// EDOM, as Linux says it.
Or<std::uint64_t> to_timeout(const timeval& time) {
  constexpr std::int64_t us_per_second = 1'000'000;
  if (time.tv_usec < 0 || time.tv_usec >= us_per_second) {
    return std::unexpected(EDOM);
  }
  if (time.tv_sec < 0) {
    return 0;
  }
  if (time.tv_sec == 0 && time.tv_usec == 0) {
    return wait_for_ever;
  }
  constexpr std::int64_t most_seconds = std::int64_t{1} << 32;
  return static_cast<std::uint64_t>(std::min(time.tv_sec, most_seconds)) * ns_per_second +
         static_cast<std::uint64_t>(time.tv_usec) * ns_per_us;
}

// An int; nothing: it is another type, or there is no such option.
std::optional<Or<std::int32_t>> number_of(Socket& socket, std::uint64_t level,
                                          std::uint64_t option) {
  const SocketTraits& traits = socket.traits();
  if (const auto host = host_option(level, option); host && is_internet(socket)) {
    const Or<std::int64_t> value = socket.option(*host);
    return value ? Or<std::int32_t>(static_cast<std::int32_t>(*value))
                 : std::unexpected(value.error());
  }
  if (level == IPPROTO_IPV6) {
    return option == IPV6_V6ONLY && traits.is_version_6_only ? 1 : 0;
  }
  if (level == IPPROTO_IP) {
    return 0;
  }
  if (level == IPPROTO_TCP) {
    constexpr std::int32_t usual_segment_bytes = 1460;
    return option == TCP_MAXSEG ? std::optional<Or<std::int32_t>>(usual_segment_bytes)
           : option == TCP_DEFER_ACCEPT || option == TCP_FASTOPEN
               ? std::optional<Or<std::int32_t>>(0)
               : std::nullopt;
  }
  switch (option) {
  case SO_TYPE:
    return socket.kind() == Socket::Kind::stream      ? SOCK_STREAM
           : socket.kind() == Socket::Kind::datagrams ? SOCK_DGRAM
                                                      : SOCK_SEQPACKET;
  case SO_DOMAIN:
    return traits.family;
  case SO_PROTOCOL:
    return is_internet(socket) ? int{IPPROTO_TCP} : 0;
  case SO_ERROR:
    return socket.take_error();
  case SO_SNDBUF:
    return static_cast<std::int32_t>(traits.most_sent_bytes);
  case SO_RCVBUF:
    return static_cast<std::int32_t>(traits.most_received_bytes);
  case SO_PASSCRED:
    return traits.tells_senders ? 1 : 0;
  case SO_REUSEADDR:
    return traits.reuses_address ? 1 : 0;
  case SO_REUSEPORT:
    return traits.reuses_port ? 1 : 0;
  case SO_ACCEPTCONN:
    return socket.is_listening() ? 1 : 0;
  case SO_RCVLOWAT:
    return 1;
  case SO_KEEPALIVE:
  case SO_OOBINLINE:
  case SO_BROADCAST:
  case SO_DEBUG:
  case SO_DONTROUTE:
  case SO_PRIORITY:
  case SO_INCOMING_CPU:
    return 0;
  default:
    return std::nullopt;
  }
}

// 0 or an error number.
int set_number(Socket& socket, std::uint64_t level, std::uint64_t option, std::int32_t value) {
  SocketTraits& traits = socket.traits();
  if (const auto host = host_option(level, option); host && is_internet(socket)) {
    return socket.set_option(*host, value);
  }
  if (level == IPPROTO_IPV6 && option == IPV6_V6ONLY) {
    if (socket.unconnected() == nullptr) {
      return EINVAL;
    }
    traits.is_version_6_only = value != 0;
    return 0;
  }
  if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
    return 0; // of packets, which are the host's
  }
  if (level == IPPROTO_TCP) {
    const bool means_nothing = option == TCP_DEFER_ACCEPT || option == TCP_FASTOPEN ||
                               option == TCP_MAXSEG || option == TCP_FASTOPEN_CONNECT;
    return means_nothing ? 0 : ENOPROTOOPT;
  }
  switch (option) {
  case SO_SNDBUF:
    traits.most_sent_bytes = buffer_bytes(value);
    return is_internet(socket)
               ? socket.set_option(abi::SocketOption::send_bytes,
                                   static_cast<std::int64_t>(traits.most_sent_bytes))
               : 0;
  case SO_RCVBUF:
    traits.most_received_bytes = buffer_bytes(value);
    return is_internet(socket)
               ? socket.set_option(abi::SocketOption::receive_bytes,
                                   static_cast<std::int64_t>(traits.most_received_bytes))
               : 0;
  case SO_PASSCRED:
    traits.tells_senders = value != 0;
    return 0;
  case SO_REUSEADDR:
    traits.reuses_address = value != 0;
    return 0;
  case SO_REUSEPORT:
    traits.reuses_port = value != 0;
    return 0;
  case SO_KEEPALIVE:
  case SO_OOBINLINE:
  case SO_BROADCAST:
  case SO_DONTROUTE:
  case SO_PRIORITY:
  case SO_INCOMING_CPU: // which mean nothing here
    return 0;
  default:
    return ENOPROTOOPT;
  }
}

} // namespace

Answer SocketCalls::sys_getsockopt(const Args& args) {
  const auto [descriptor, level, option, address, bytes_address, unused5] = args;
  const Or<std::shared_ptr<OpenFile>> file = socket_at(descriptor);
  if (!file) {
    return -Answer{file.error()};
  }
  Socket& socket = *(*file)->file->socket();
  const SocketTraits& traits = socket.traits();
  if (level != SOL_SOCKET && !is_internet(socket)) {
    return -EOPNOTSUPP;
  }
  std::int32_t room = 0;
  if (!user_.fetch(bytes_address, room)) {
    return -EFAULT;
  }
  if (room < 0) {
    return -EINVAL;
  }
  const auto give = [&](const auto& what) -> Answer {
    const auto bytes = std::min<std::uint64_t>(sizeof what, static_cast<std::uint64_t>(room));
    const std::span content = std::as_bytes(std::span(&what, 1));
    if (!user_.may_write(address, bytes)) {
      return -EFAULT;
    }
    for (std::uint64_t at = 0; at < bytes; ++at) {
      static_cast<void>(user_.store(address + at, content[at]));
    }
    return user_.store(bytes_address, static_cast<std::int32_t>(bytes)) ? 0 : -EFAULT;
  };
  if (level == SOL_SOCKET && option == SO_LINGER) {
    const auto seconds =
        static_cast<std::int32_t>(socket.option(abi::SocketOption::linger).value_or(-1));
    return give(linger{.l_onoff = seconds < 0 ? 0 : 1, .l_linger = std::max(seconds, 0)});
  }
  if (level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO)) {
    return give(
        timeval_of(option == SO_RCVTIMEO ? traits.receive_timeout_ns : traits.send_timeout_ns));
  }
  if (level == SOL_SOCKET && option == SO_PEERCRED) {
    return give(ucred{.pid = static_cast<std::int32_t>(self().id),
                      .uid = self().credentials.ids(Credentials::Kind::user).real,
                      .gid = self().credentials.ids(Credentials::Kind::group).real});
  }
  const std::optional<Or<std::int32_t>> number = number_of(socket, level, option);
  if (!number) {
    return -ENOPROTOOPT;
  }
  return *number ? give(**number) : -Answer{number->error()};
}

Answer SocketCalls::sys_setsockopt(const Args& args) {
  const auto [descriptor, level, option, address, bytes, unused5] = args;
  const Or<std::shared_ptr<OpenFile>> file = socket_at(descriptor);
  if (!file) {
    return -Answer{file.error()};
  }
  Socket& socket = *(*file)->file->socket();
  if (level != SOL_SOCKET && !is_internet(socket)) {
    return -EOPNOTSUPP;
  }
  const auto has = [&](const auto& what) {
    return static_cast<std::int32_t>(bytes) >= static_cast<std::int32_t>(sizeof what);
  };
  if (level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO)) {
    timeval time{};
    if (!has(time) || !user_.fetch(address, time)) {
      return has(time) ? -EFAULT : -EINVAL;
    }
    const Or<std::uint64_t> timeout = to_timeout(time);
    if (!timeout) {
      return -Answer{timeout.error()};
    }
    SocketTraits& traits = socket.traits();
    (option == SO_RCVTIMEO ? traits.receive_timeout_ns : traits.send_timeout_ns) = *timeout;
    return 0;
  }
  if (level == SOL_SOCKET && option == SO_LINGER) {
    linger wanted{};
    if (!has(wanted) || !user_.fetch(address, wanted)) {
      return has(wanted) ? -EFAULT : -EINVAL;
    }
    return -Answer{
        socket.set_option(abi::SocketOption::linger, wanted.l_onoff != 0 ? wanted.l_linger : -1)};
  }
  std::int32_t value = 0;
  if (!has(value)) {
    return -EINVAL;
  }
  return user_.fetch(address, value) ? -Answer{set_number(socket, level, option, value)} : -EFAULT;
}

} // namespace guest::linux
