// SPDX-License-Identifier: MIT
// Sockets that have names: made, bound, listening, connecting. What is sent through them is in
// calls_sockets.cpp.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "guest/linux/process/socket_calls.hpp"
#include "guest/linux/sockets/listening_socket.hpp"
#include "guest/linux/sockets/network.hpp"

namespace guest::linux {

namespace {

static_assert(SOCK_CLOEXEC == O_CLOEXEC && SOCK_NONBLOCK == O_NONBLOCK);
constexpr std::uint64_t socket_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr std::uint64_t type_mask = 0xf; // SOCK_TYPE_MASK
constexpr std::uint64_t longest_name = sizeof(sockaddr_storage);
// How long Linux asks for a connection (net.ipv4.tcp_syn_retries).
constexpr std::uint64_t longest_way_ns = 127'000'000'000;

} // namespace

// ---- names -------------------------------------------------------------------------------------

// A struct sockaddr of so many bytes. EFAULT, EINVAL, EAFNOSUPPORT.
Or<SocketName> SocketCalls::socket_name_at(std::uint64_t address, std::uint64_t bytes) const {
  if (static_cast<std::int32_t>(bytes) < 0 || bytes > longest_name) {
    return std::unexpected(EINVAL);
  }
  const Or<std::span<const std::byte>> data = user_.data_at(address, bytes);
  return data ? SocketName::from(*data) : std::unexpected(data.error());
}

// The file that a name of AF_UNIX is a path to. ECONNREFUSED: it is no socket.
int SocketCalls::find_socket_file(SocketName& name) {
  const Or<Place> place = walk(here, view(name.unix_name), Last::follow);
  if (!place || !place->stat) {
    return place ? place->stat.error() : place.error();
  }
  if (!S_ISSOCK(place->stat->mode)) {
    return ECONNREFUSED;
  }
  name.device = place->stat->device;
  name.inode = place->stat->inode;
  return 0;
}

// The same, made. EADDRINUSE: there is something.
int SocketCalls::make_socket_file(SocketName& name) {
  const Or<Place> place = walk(here, view(name.unix_name), Last::name);
  if (!place || place->stat || place->slash) {
    return !place ? place.error() : place->stat ? EADDRINUSE : ENOENT;
  }
  constexpr std::uint32_t all_rights = 0777;
  const int error =
      place->system->make_special(place->inner(), S_IFSOCK | (all_rights & ~self().umask));
  return error != 0 ? error : find_socket_file(name);
}

// Where messages to that name go. ECONNREFUSED and such of its file, too.
Or<std::shared_ptr<Mailbox>> SocketCalls::mailbox_at(SocketName name) {
  if (name.family == AF_UNIX && name.is_path()) {
    if (const int error = find_socket_file(name); error != 0) {
      return std::unexpected(error);
    }
  }
  return network_.mailbox_at(name);
}

// Tells it where a struct sockaddr is wanted, as far as there is room. 0, -EFAULT, -EINVAL.
Answer SocketCalls::put_socket_name(const SocketName& name, std::uint64_t address,
                                    std::uint64_t bytes_address) const {
  std::int32_t room = 0;
  if (!user_.fetch(bytes_address, room)) {
    return -EFAULT;
  }
  if (room < 0) {
    return -EINVAL;
  }
  const std::vector<std::byte> all = name.bytes();
  const std::uint64_t fit = std::min<std::uint64_t>(all.size(), static_cast<std::uint64_t>(room));
  if (!user_.may_write(address, fit)) {
    return -EFAULT;
  }
  for (std::uint64_t at = 0; at < fit; ++at) {
    static_cast<void>(user_.store(address + at, all[at]));
  }
  return user_.store(bytes_address, static_cast<std::int32_t>(all.size())) ? 0 : -EFAULT;
}

Answer SocketCalls::sys_getsockname(const Args& args) {
  const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]);
  if (!file) {
    return -Answer{file.error()};
  }
  const Or<SocketName> name = (*file)->file->socket()->own_name();
  return name ? put_socket_name(*name, args[1], args[2]) : -Answer{name.error()};
}

Answer SocketCalls::sys_getpeername(const Args& args) {
  const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]);
  if (!file) {
    return -Answer{file.error()};
  }
  const Or<SocketName> name = (*file)->file->socket()->peer_name();
  return name ? put_socket_name(*name, args[1], args[2]) : -Answer{name.error()};
}

// ---- before there is a connection --------------------------------------------------------------

Answer SocketCalls::sys_socket(const Args& args) {
  const auto [family, type, protocol, unused3, unused4, unused5] = args;
  if ((type & ~(type_mask | socket_flags)) != 0 || (type & type_mask) > SOCK_PACKET) {
    return -EINVAL;
  }
  const Or<Socket*> socket = network_.make(family, type & type_mask, protocol);
  return socket ? add_file(*socket, O_RDWR | (type & socket_flags), {}) : -Answer{socket.error()};
}

Answer SocketCalls::sys_bind(const Args& args) {
  const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]);
  Or<SocketName> name = socket_name_at(args[1], args[2]);
  if (!file || !name) {
    return -Answer{file ? name.error() : file.error()};
  }
  Socket& socket = *(*file)->file->socket();
  UnconnectedSocket* const unconnected = socket.unconnected();
  DatagramSocket* const datagrams = socket.datagrams();
  const bool may_be_named = unconnected != nullptr ? unconnected->name == nullptr
                                                   : datagrams != nullptr && !datagrams->has_name();
  if (!may_be_named) {
    return -EINVAL;
  }
  if (name->is_path() && socket.traits().family == AF_UNIX) {
    if (const int error = make_socket_file(*name); error != 0) {
      return -Answer{error};
    }
  }
  return -Answer{datagrams != nullptr ? network_.bind(*datagrams, *name)
                                      : network_.bind(*unconnected, *name)};
}

Answer SocketCalls::sys_listen(const Args& args) {
  const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]);
  if (!file) {
    return -Answer{file.error()};
  }
  std::shared_ptr<File>& is = (*file)->file;
  // What is negative is as much as there may be.
  const auto backlog = static_cast<std::uint32_t>(args[1]);
  if (is->socket()->is_listening()) {
    is->socket()->set_backlog(backlog);
    return 0;
  }
  UnconnectedSocket* const socket = is->socket()->unconnected();
  if (socket == nullptr) {
    return is->socket()->datagrams() != nullptr ? -EOPNOTSUPP : -EINVAL;
  }
  const Or<Socket*> listening = network_.listen(*socket, backlog);
  if (!listening) {
    return -Answer{listening.error()};
  }
  is.reset(*listening);
  return 0;
}

// ---- connections -------------------------------------------------------------------------------

void SocketCalls::name_sender(DatagramSocket& socket) {
  if (socket.traits().tells_senders && !socket.has_name()) {
    SocketName chosen;
    chosen.family = AF_UNIX;
    static_cast<void>(network_.bind(socket, chosen));
  }
}

int SocketCalls::connect_datagrams(DatagramSocket& socket, const SocketName& name) {
  if (name.family == AF_UNSPEC) {
    return socket.connect(nullptr);
  }
  name_sender(socket);
  const Or<std::shared_ptr<Mailbox>> to = mailbox_at(name);
  return to ? socket.connect(*to) : to.error();
}

Answer SocketCalls::sys_connect(const Args& args) {
  const Or<std::shared_ptr<OpenFile>> open = socket_at(args[0]);
  Or<SocketName> name = socket_name_at(args[1], args[2]);
  if (!open || !name) {
    return -Answer{open ? name.error() : open.error()};
  }
  OpenFile& file = **open;
  if (DatagramSocket* const datagrams = file.file->socket()->datagrams()) {
    return -Answer{connect_datagrams(*datagrams, *name)};
  }
  bool is_new = false;
  if (const UnconnectedSocket* const socket = file.file->socket()->unconnected()) {
    if (name->is_path() && socket->traits().family == AF_UNIX) {
      if (const int error = find_socket_file(*name); error != 0) {
        return -Answer{error};
      }
    }
    const Or<Socket*> connecting = network_.connect(*socket, *name);
    if (!connecting) {
      return -Answer{connecting.error()};
    }
    file.file.reset(*connecting);
    is_new = true;
  }
  const bool waits = (file.open_flags & O_NONBLOCK) == 0;
  const SocketTraits& traits = file.file->socket()->traits();
  const bool is_unix = traits.family == AF_UNIX;
  const bool gives_up = traits.send_timeout_ns == wait_for_ever && !is_unix;
  const std::uint64_t until = deadline_of(gives_up ? longest_way_ns : traits.send_timeout_ns);
  if (is_new && !waits && !is_unix) {
    return -EINPROGRESS; // as Linux says it, however fast it was
  }
  for (;;) {
    const int error = file.file->socket()->connect_again();
    if (error == EALREADY && waits) {
      const Answer failed = wait_for_socket(file, abi::file_writable, until);
      if (failed == 0) {
        continue;
      }
      if (is_unix || (failed == -EAGAIN && gives_up)) {
        disconnect(file);
      }
      return failed != -EAGAIN || is_unix ? failed : gives_up ? -ETIMEDOUT : -EINPROGRESS;
    }
    if (error == EALREADY && is_unix) {
      disconnect(file); // it is there at once, or not at all
      return -EAGAIN;
    }
    if (error != 0 && error != EALREADY && error != EISCONN && error != EINVAL) {
      disconnect(file);
    }
    return error == EALREADY && is_new ? -EINPROGRESS : -Answer{error};
  }
}

// What was on its way is no more: connect(2) may begin again.
void SocketCalls::disconnect(OpenFile& file) {
  const Socket& socket = *file.file->socket();
  file.file.reset(new UnconnectedSocket(socket.kind(), SocketTraits(socket.traits())));
}

Answer SocketCalls::sys_accept4(const Args& args) {
  const auto [descriptor, address, bytes_address, flags, unused4, unused5] = args;
  const Or<std::shared_ptr<OpenFile>> open = socket_at(descriptor);
  if (!open || (flags & ~socket_flags) != 0) {
    return open ? -EINVAL : -Answer{open.error()};
  }
  const OpenFile& file = **open;
  const std::shared_ptr<File> is = file.file; // whatever the open file becomes meanwhile
  Socket& listening = *is->socket();
  if (listening.kind() == Socket::Kind::datagrams) {
    return -EOPNOTSUPP;
  }
  if (self().files.is_full()) {
    return -EMFILE;
  }
  const std::uint64_t until = deadline_of(listening.traits().receive_timeout_ns);
  for (;;) {
    const Or<Socket::Accepted> accepted = listening.accept();
    if (!accepted && accepted.error() == EAGAIN && (file.open_flags & O_NONBLOCK) == 0) {
      if (const Answer failed = wait_for_socket(file, abi::file_readable, until); failed != 0) {
        return failed;
      }
      continue;
    }
    if (!accepted) {
      return -Answer{accepted.error()};
    }
    accepted->socket->traits().inode = network_.next_inode();
    const Answer number = add_file(accepted->socket, O_RDWR | (flags & socket_flags), {});
    if (number >= 0 && address != 0) {
      if (const Answer failed = put_socket_name(accepted->peer, address, bytes_address);
          failed != 0) {
        static_cast<void>(self().files.remove(static_cast<std::uint64_t>(number)));
        return failed;
      }
    }
    return number;
  }
}

Answer SocketCalls::sys_accept(const Args& args) {
  return sys_accept4({args[0], args[1], args[2], 0, 0, 0});
}

} // namespace guest::linux
