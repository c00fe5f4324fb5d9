// SPDX-License-Identifier: MIT
// What goes through sockets; pairs of them. How others are connected is in calls_network.cpp, and
// messages with more than bytes in calls_socket_messages.cpp.
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/process/socket_calls.hpp"
#include "guest/linux/sockets/local_socket.hpp"

namespace guest::linux {

namespace {

static_assert(SOCK_CLOEXEC == O_CLOEXEC && SOCK_NONBLOCK == O_NONBLOCK);
constexpr std::uint64_t type_mask = 0xf; // SOCK_TYPE_MASK

// Into one part after the other, which reach far enough.
bool put_parts(const UserMemory& user, const std::vector<iovec>& parts,
               std::span<const std::byte> bytes) {
  for (const iovec& part : parts) {
    const std::uint64_t some = std::min<std::uint64_t>(part.iov_len, bytes.size());
    if (some == 0) {
      continue;
    }
    const Or<std::span<std::byte>> to =
        user.room_at(reinterpret_cast<std::uint64_t>(part.iov_base), some);
    if (!to) {
      return false;
    }
    std::memcpy(to->data(), bytes.data(), some);
    bytes = bytes.subspan(some);
  }
  return true;
}

} // namespace

// EBADF, ENOTSOCK.
Or<std::shared_ptr<OpenFile>> SocketCalls::socket_at(std::uint64_t descriptor) const {
  std::shared_ptr<OpenFile> file = self().files.share(descriptor & 0xffffffff);
  if (file == nullptr || (file->open_flags & O_PATH) != 0) {
    return std::unexpected(EBADF);
  }
  return file->file->socket() == nullptr ? Or<std::shared_ptr<OpenFile>>(std::unexpected(ENOTSOCK))
                                         : std::move(file);
}

Answer SocketCalls::sys_socketpair(const Args& args) {
  const auto [family, type, protocol, address, unused4, unused5] = args;
  constexpr std::uint64_t flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
  Socket::Kind kind = Socket::Kind::stream;
  if ((type & ~(type_mask | flags)) != 0 || (type & type_mask) > SOCK_PACKET) {
    return -EINVAL;
  }
  if (family != AF_UNIX) {
    return family == AF_INET || family == AF_INET6 ? -EOPNOTSUPP : -EAFNOSUPPORT;
  }
  if (protocol != 0 && protocol != PF_UNIX) {
    return -EPROTONOSUPPORT;
  }
  switch (type & type_mask) {
  case SOCK_STREAM:
    break;
  case SOCK_DGRAM:
  case SOCK_RAW:
    kind = Socket::Kind::datagrams;
    break;
  case SOCK_SEQPACKET:
    kind = Socket::Kind::packets;
    break;
  default:
    return -ESOCKTNOSUPPORT;
  }
  SocketTraits traits;
  traits.family = AF_UNIX;
  LocalSocket::End one{.traits = traits, .name = {}};
  one.name.family = AF_UNIX;
  LocalSocket::End other = one;
  one.traits.inode = network_.next_inode();
  other.traits.inode = network_.next_inode();
  const std::uint64_t open_flags = O_RDWR | (type & flags);
  if (kind == Socket::Kind::datagrams) {
    const DatagramSocket::Pair pair = DatagramSocket::make_pair(one.traits, other.traits);
    return add_two(pair.one, pair.other, open_flags, open_flags, address);
  }
  const LocalSocket::Pair pair = LocalSocket::make(kind, one, other);
  return add_two(pair.one, pair.other, open_flags, open_flags, address);
}

Answer SocketCalls::wait_for_socket(const OpenFile& file, Readiness wanted,
                                    std::uint64_t until_ns) {
  if (until_ns == Machine::never) {
    return wait_for_stream(file, wanted, wait_for_ever);
  }
  const std::uint64_t now_ns = machine_.now_ns();
  return now_ns >= until_ns ? -EAGAIN : wait_for_stream(file, wanted, until_ns - now_ns);
}

// ---- sending -----------------------------------------------------------------------------------

// One piece: all of a message, of a stream as much as goes.
Answer SocketCalls::send_piece(const OpenFile& file, std::span<const std::byte> piece,
                               BytesOf whose, const Sending& with) {
  const std::shared_ptr<File> is = file.file; // whatever the open file becomes meanwhile
  Socket& socket = *is->socket();
  DatagramSocket* const datagrams = socket.datagrams();
  const auto [files, to, flags] = with;
  const bool waits = (flags & MSG_DONTWAIT) == 0 && (file.open_flags & O_NONBLOCK) == 0;
  const Socket::More more = (flags & MSG_MORE) != 0 ? Socket::More::follows : Socket::More::no;
  const std::uint64_t until = deadline_of(socket.traits().send_timeout_ns);
  for (;;) {
    const Or<std::uint64_t> sent =
        to != nullptr ? datagrams->send_to(to, piece, files) : socket.send(piece, files, more);
    if (!sent && (flags & MSG_NOSIGNAL) == 0) {
      signal_failed_write(file, sent.error());
    }
    if (sent || sent.error() != EAGAIN || !waits) {
      return answer_of(sent);
    }
    const Readiness wanted = datagrams != nullptr ? file_takes_message : abi::file_writable;
    if (const Answer failed = wait_for_socket(file, wanted, until); failed != 0) {
      return failed;
    }
    if (!are_there(piece, whose)) {
      return -EFAULT;
    }
  }
}

Answer SocketCalls::send_parts(const OpenFile& file, const std::vector<iovec>& parts,
                               Sending with) {
  const std::uint64_t flags = with.flags;
  if ((flags & MSG_OOB) != 0) {
    return -EOPNOTSUPP;
  }
  if (DatagramSocket* const datagrams = file.file->socket()->datagrams()) {
    name_sender(*datagrams);
  }
  const bool is_stream = file.file->socket()->kind() == Socket::Kind::stream;
  std::vector<std::byte> message;
  Answer total = 0;
  for (const iovec& part : parts) {
    const auto address = reinterpret_cast<std::uint64_t>(part.iov_base);
    for (std::uint64_t done = 0; done < part.iov_len;) {
      const Or<std::span<const std::byte>> from =
          user_.data_from(address + done, part.iov_len - done);
      if (!from) {
        return total != 0 ? total : -Answer{from.error()};
      }
      if (!is_stream) {
        if (message.size() + from->size() > SocketTraits::usual_bytes * 2) {
          return -EMSGSIZE;
        }
        message.insert(message.end(), from->begin(), from->end());
        done += from->size();
        continue;
      }
      const bool is_last = &part == &parts.back() && done + from->size() == part.iov_len;
      with.flags = is_last ? flags : flags | MSG_MORE;
      const Answer sent = send_piece(file, *from, BytesOf::program, with);
      if (sent < 0) {
        return total != 0 ? total : sent;
      }
      with.files.clear();
      total += sent;
      done += static_cast<std::uint64_t>(sent);
    }
  }
  return is_stream ? total : send_piece(file, message, BytesOf::kernel, with);
}

Or<std::shared_ptr<Mailbox>> SocketCalls::receiver_at(Socket& from, std::uint64_t address,
                                                      std::uint64_t bytes) {
  if (address == 0 || static_cast<std::int32_t>(bytes) == 0 || from.traits().family != AF_UNIX ||
      from.kind() == Socket::Kind::packets) {
    return nullptr;
  }
  if (from.datagrams() == nullptr) {
    return std::unexpected(from.is_connected() ? EISCONN : EOPNOTSUPP);
  }
  const Or<SocketName> name = socket_name_at(address, bytes);
  return name ? mailbox_at(*name) : std::unexpected(name.error());
}

// The same, and whether a program's memory can reach so far: EFAULT.
Or<std::shared_ptr<OpenFile>> SocketCalls::socket_to_move(std::uint64_t descriptor,
                                                          std::uint64_t address,
                                                          std::uint64_t bytes) const {
  if (address > highest_address || bytes > highest_address - address) {
    return std::unexpected(EFAULT);
  }
  return socket_at(descriptor);
}

Answer SocketCalls::sys_sendto(const Args& args) {
  const auto [descriptor, address, bytes, flags, to, to_bytes] = args;
  const std::uint64_t whole = std::min(bytes, UserMemory::max_transfer_bytes);
  const Or<std::shared_ptr<OpenFile>> file = socket_to_move(descriptor, address, whole);
  if (!file) {
    return -Answer{file.error()};
  }
  const Or<std::shared_ptr<Mailbox>> receiver = receiver_at(*(*file)->file->socket(), to, to_bytes);
  if (!receiver) {
    return -Answer{receiver.error()};
  }
  return send_parts(**file, {{reinterpret_cast<void*>(address), whole}}, // NOLINT
                    {.files = {}, .to = *receiver, .flags = flags});
}

// ---- receiving ---------------------------------------------------------------------------------

// What comes next, once it has come.
Or<Socket::Received> SocketCalls::receive_piece(const OpenFile& file, std::span<std::byte> to,
                                                BytesOf whose, std::uint64_t flags) {
  const std::shared_ptr<File> is = file.file; // whatever the open file becomes meanwhile
  Socket& socket = *is->socket();
  const bool waits = (flags & MSG_DONTWAIT) == 0 && (file.open_flags & O_NONBLOCK) == 0;
  const auto taking = (flags & MSG_PEEK) != 0 ? Socket::Taking::no : Socket::Taking::yes;
  const std::uint64_t until = deadline_of(socket.traits().receive_timeout_ns);
  for (;;) {
    Or<Socket::Received> got = socket.receive(to, taking);
    if (got || got.error() != EAGAIN || !waits) {
      return got;
    }
    if (const Answer failed = wait_for_socket(file, abi::file_readable, until); failed != 0) {
      return std::unexpected(static_cast<int>(-failed));
    }
    if (whose == BytesOf::program &&
        !user_.room_at(reinterpret_cast<std::uint64_t>(to.data()), to.size())) {
      return std::unexpected(EFAULT); // another thread has unmapped it meanwhile
    }
  }
}

// A message, as far as the parts reach.
Or<Socket::Received> SocketCalls::receive_message(const OpenFile& file,
                                                  const std::vector<iovec>& parts,
                                                  std::uint64_t flags) {
  std::uint64_t room = 0;
  for (const iovec& part : parts) {
    room += part.iov_len;
  }
  std::vector<std::byte> bytes(std::min(room, SocketTraits::usual_bytes * 2));
  Or<Socket::Received> got = receive_piece(file, bytes, BytesOf::kernel, flags);
  if (got && !put_parts(user_, parts, std::span(bytes).first(got->bytes))) {
    return std::unexpected(EFAULT);
  }
  return got;
}

// Of a stream what is there, into one part after the other; with MSG_WAITALL all that they have
// room for.
Or<Socket::Received> SocketCalls::receive_parts(const OpenFile& file,
                                                const std::vector<iovec>& parts,
                                                std::uint64_t flags) {
  for (const iovec& part : parts) {
    if (part.iov_len != 0 &&
        !user_.may_write(reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len)) {
      return std::unexpected(EFAULT);
    }
  }
  if (file.file->socket()->kind() != Socket::Kind::stream ||
      ((flags & MSG_PEEK) != 0 && parts.size() > 1)) {
    return receive_message(file, parts, flags);
  }
  const bool has_room =
      std::ranges::any_of(parts, [](const iovec& part) { return part.iov_len != 0; });
  if (!has_room && file.file->socket()->traits().family == AF_UNIX) {
    return receive_piece(file, {}, BytesOf::kernel, flags); // which still has to be ready
  }
  const bool only_looks = (flags & MSG_PEEK) != 0;
  const bool waits_for_all = (flags & MSG_WAITALL) != 0 && !only_looks;
  Socket::Received all;
  for (const iovec& part : parts) {
    for (std::uint64_t done = 0; done < part.iov_len;) {
      const Or<std::span<std::byte>> to = user_.room_from(
          reinterpret_cast<std::uint64_t>(part.iov_base) + done, part.iov_len - done);
      if (!to) {
        return std::unexpected(to.error());
      }
      const bool may_wait = all.bytes == 0 || waits_for_all;
      Or<Socket::Received> got =
          receive_piece(file, *to, BytesOf::program, may_wait ? flags : flags | MSG_DONTWAIT);
      if (!got) {
        return all.bytes != 0 ? Or<Socket::Received>(std::move(all)) : std::move(got);
      }
      done += got->bytes;
      all.bytes += got->bytes;
      all.whole_bytes = all.bytes;
      all.files = std::move(got->files);
      const bool is_short = got->bytes < to->size() && !waits_for_all;
      if (got->bytes == 0 || is_short || only_looks || !all.files.empty()) {
        return all;
      }
    }
  }
  return all;
}

Answer SocketCalls::sys_recvfrom(const Args& args) {
  const auto [descriptor, address, bytes, flags, from, from_bytes] = args;
  const std::uint64_t whole = std::min(bytes, UserMemory::max_transfer_bytes);
  const Or<std::shared_ptr<OpenFile>> file = socket_to_move(descriptor, address, whole);
  if (!file) {
    return -Answer{file.error()};
  }
  if ((flags & MSG_OOB) != 0) {
    return -EOPNOTSUPP;
  }
  const Or<Socket::Received> got =
      receive_parts(**file, {{reinterpret_cast<void*>(address), whole}}, flags); // NOLINT
  if (!got) {
    return -Answer{got.error()};
  }
  if (from != 0 && !got->from.unix_name.empty()) {
    if (const Answer failed = put_socket_name(got->from, from, from_bytes); failed != 0) {
      return failed;
    }
  } else if (from != 0 && !user_.store(from_bytes, std::int32_t{0})) { // known, or without a name
    return -EFAULT;
  }
  return received_bytes(*got, flags);
}

// ---- the rest ----------------------------------------------------------------------------------

Answer SocketCalls::sys_shutdown(const Args& args) {
  const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]);
  if (!file) {
    return -Answer{file.error()};
  }
  if (args[1] > SHUT_RDWR) {
    return -EINVAL;
  }
  return -Answer{(*file)->file->socket()->shut_down(
      {.reading = args[1] != SHUT_WR, .writing = args[1] != SHUT_RD})};
}

} // namespace guest::linux
