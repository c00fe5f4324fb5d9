// SPDX-License-Identifier: MIT
// Messages as sendmsg and recvmsg have them, one or several by a call: in several parts, with files
// and credentials of AF_UNIX beside them (unix(7), cmsg(3)).
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <ctime>

#include "guest/linux/process/socket_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

constexpr std::size_t most_files = 253; // SCM_MAX_FD

// The kernel's struct cmsghdr, before each.
struct ControlHeader {
  std::uint64_t bytes = 0; // with the header
  std::int32_t level = 0;
  std::int32_t type = 0;
};
constexpr std::uint64_t control_alignment = 8;
constexpr std::uint64_t most_messages = IOV_MAX; // of one call, as Linux

} // namespace

// What sendmsg and recvmsg are asked for. EBADF, ENOTSOCK, EFAULT, EMSGSIZE, EINVAL.
Or<SocketCalls::SocketMessage> SocketCalls::message_at(std::uint64_t descriptor,
                                                       std::uint64_t address) const {
  SocketMessage message;
  Or<std::shared_ptr<OpenFile>> file = socket_at(descriptor);
  if (!file) {
    return std::unexpected(file.error());
  }
  message.file = std::move(*file);
  if (!user_.fetch(address, message.header)) {
    return std::unexpected(EFAULT);
  }
  if (message.header.msg_iovlen > IOV_MAX) {
    return std::unexpected(EMSGSIZE);
  }
  Or<std::vector<iovec>> parts = user_.vectors_at(
      reinterpret_cast<std::uint64_t>(message.header.msg_iov), message.header.msg_iovlen);
  if (!parts) {
    return std::unexpected(parts.error());
  }
  message.parts = std::move(*parts);
  return message;
}

// What goes along with a message: files. EBADF, EFAULT, EINVAL, EPERM.
Or<SocketCalls::SharedFiles> SocketCalls::files_to_send(const msghdr& message) const {
  SharedFiles files;
  const auto start = reinterpret_cast<std::uint64_t>(message.msg_control);
  for (std::uint64_t at = 0; message.msg_controllen - at >= sizeof(ControlHeader);) {
    ControlHeader header;
    if (!user_.fetch(start + at, header)) {
      return std::unexpected(EFAULT);
    }
    if (header.bytes < sizeof header || header.bytes > message.msg_controllen - at) {
      return std::unexpected(EINVAL);
    }
    const std::uint64_t content = start + at + sizeof header;
    const std::uint64_t bytes = header.bytes - sizeof header;
    if (header.level == SOL_SOCKET && header.type == SCM_RIGHTS) {
      for (std::uint64_t index = 0; index < bytes / sizeof(std::int32_t); ++index) {
        std::uint32_t descriptor = 0;
        if (!user_.fetch(content + index * sizeof descriptor, descriptor)) {
          return std::unexpected(EFAULT);
        }
        files.push_back(self().files.share(descriptor));
        if (files.back() == nullptr) {
          return std::unexpected(EBADF);
        }
        if (files.size() > most_files) {
          return std::unexpected(EINVAL);
        }
      }
    } else if (header.level == SOL_SOCKET && header.type == SCM_CREDENTIALS) {
      ucred sender{};
      if (bytes != sizeof sender) {
        return std::unexpected(EINVAL);
      }
      if (!user_.fetch(content, sender)) {
        return std::unexpected(EFAULT);
      }
      if (sender.pid != self().id) {
        return std::unexpected(EPERM);
      }
    } else if (header.level == SOL_SOCKET) {
      return std::unexpected(EINVAL);
    }
    const std::uint64_t next = abi::align_up(header.bytes, control_alignment);
    at = std::min<std::uint64_t>(at + next, message.msg_controllen);
  }
  return files;
}

Answer SocketCalls::sys_sendmsg(const Args& args) {
  const Or<SocketMessage> message = message_at(args[0], args[1]);
  if (!message) {
    return -Answer{message.error()};
  }
  if (message->header.msg_controllen > INT_MAX) {
    return -ENOBUFS;
  }
  // Elsewhere nothing goes along, whatever it says.
  const bool is_unix = message->file->file->socket()->traits().family == AF_UNIX;
  const Or<SharedFiles> files =
      is_unix ? files_to_send(message->header) : Or<SharedFiles>(SharedFiles{});
  const Or<std::shared_ptr<Mailbox>> to = receiver_at(
      *message->file->file->socket(), reinterpret_cast<std::uint64_t>(message->header.msg_name),
      message->header.msg_namelen);
  if (!files || !to) {
    return -Answer{files ? to.error() : files.error()};
  }
  return send_parts(*message->file, message->parts, {.files = *files, .to = *to, .flags = args[2]});
}

// Puts one behind the others; how many bytes it took. 0: there was no room for its header.
std::uint64_t SocketCalls::put_control(std::uint64_t to, std::uint64_t room, std::int32_t type,
                                       std::span<const std::byte> content) const {
  ControlHeader header{.level = SOL_SOCKET, .type = type};
  if (room < sizeof header) {
    return 0;
  }
  const std::uint64_t fits = std::min<std::uint64_t>(content.size(), room - sizeof header);
  header.bytes = sizeof header + fits;
  if (!user_.store(to, header)) {
    return 0;
  }
  for (std::uint64_t at = 0; at < fits; ++at) {
    if (!user_.store(to + sizeof header + at, content[at])) {
      return 0;
    }
  }
  return std::min(abi::align_up(header.bytes, control_alignment), room);
}

// The files of a message become descriptors, as many as there is room for; what does not fit is
// closed. The bytes of control data that there are then.
std::uint64_t SocketCalls::receive_control(const Socket& socket, SharedFiles files,
                                           const msghdr& message, std::uint64_t flags,
                                           std::int32_t& told) {
  const auto start = reinterpret_cast<std::uint64_t>(message.msg_control);
  const std::uint64_t room = start == 0 ? 0 : message.msg_controllen;
  std::uint64_t used = 0;
  if (socket.traits().tells_senders) {
    const ucred sender{.pid = static_cast<std::int32_t>(self().id),
                       .uid = self().credentials.ids(Credentials::Kind::user).real,
                       .gid = self().credentials.ids(Credentials::Kind::group).real};
    used = put_control(start, room, SCM_CREDENTIALS, std::as_bytes(std::span(&sender, 1)));
    told |= used < sizeof(ControlHeader) + sizeof sender ? MSG_CTRUNC : 0;
  }
  if (files.empty()) {
    return used;
  }
  const std::uint64_t left = room - used;
  const std::size_t fit =
      left < sizeof(ControlHeader) ? 0 : (left - sizeof(ControlHeader)) / sizeof(std::int32_t);
  std::vector<std::int32_t> numbers;
  for (const std::shared_ptr<OpenFile>& file : files) {
    const Or<int> number =
        numbers.size() < fit ? self().files.add(file) : Or<int>(std::unexpected(EMSGSIZE));
    if (!number) {
      told |= MSG_CTRUNC;
      break;
    }
    self().files.set_close_on_exec(static_cast<std::uint64_t>(*number),
                                   (flags & MSG_CMSG_CLOEXEC) != 0);
    numbers.push_back(*number);
  }
  return numbers.empty() ? used
                         : used + put_control(start + used, left, SCM_RIGHTS,
                                              std::as_bytes(std::span(numbers)));
}

Answer SocketCalls::sys_recvmsg(const Args& args) {
  Or<SocketMessage> message = message_at(args[0], args[1]);
  const std::uint64_t flags = args[2];
  if (!message) {
    return -Answer{message.error()};
  }
  if ((flags & MSG_OOB) != 0) {
    return -EOPNOTSUPP;
  }
  Or<Socket::Received> got = receive_parts(*message->file, message->parts, flags);
  if (!got) {
    return -Answer{got.error()};
  }
  const Socket& socket = *message->file->file->socket();
  msghdr& header = message->header;
  std::int32_t told = static_cast<std::int32_t>(flags & MSG_CMSG_CLOEXEC);
  told |= got->whole_bytes > got->bytes ? MSG_TRUNC : 0;
  told |= socket.kind() == Socket::Kind::packets && got->whole_bytes != 0 ? MSG_EOR : 0;
  header.msg_controllen = receive_control(socket, std::move(got->files), header, flags, told);
  const auto room = static_cast<std::int32_t>(header.msg_namelen);
  header.msg_namelen = 0;
  if (header.msg_name != nullptr && !got->from.unix_name.empty()) {
    const std::vector<std::byte> name = got->from.bytes();
    const auto fit = std::min(name.size(), static_cast<std::size_t>(std::max(room, 0)));
    const Or<std::span<std::byte>> to =
        user_.room_at(reinterpret_cast<std::uint64_t>(header.msg_name), fit);
    if (!to) {
      return -Answer{to.error()};
    }
    std::memcpy(to->data(), name.data(), fit);
    header.msg_namelen = static_cast<socklen_t>(name.size());
  }
  header.msg_flags = told;
  return user_.store(args[1], header) ? received_bytes(*got, flags) : -EFAULT;
}

// ---- several by a call -------------------------------------------------------------------------

// One of a row of struct mmsghdr; what became of it, with its bytes where they are to be told.
Answer SocketCalls::do_one_of(const Args& args, std::uint64_t index, MessageCall call,
                              std::uint64_t flags) {
  const std::uint64_t at = args[1] + index * sizeof(mmsghdr);
  const Answer bytes = (this->*call)({args[0], at, flags, 0, 0, 0});
  if (bytes < 0) {
    return bytes;
  }
  return user_.store(at + offsetof(mmsghdr, msg_len), static_cast<std::uint32_t>(bytes)) ? bytes
                                                                                         : -EFAULT;
}

// Both tell how many went; what keeps one from it is told when it is the first.
Answer SocketCalls::sys_sendmmsg(const Args& args) {
  const std::uint64_t count = std::min(args[2], most_messages);
  if (const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]); !file) {
    return -Answer{file.error()};
  }
  for (std::uint64_t index = 0; index < count; ++index) {
    const Answer sent = do_one_of(args, index, &SocketCalls::sys_sendmsg, args[3]);
    if (sent < 0) {
      return index != 0 ? static_cast<Answer>(index) : sent;
    }
  }
  return static_cast<Answer>(count);
}

// The time is looked at when a message has come, as Linux does it (BUGS of recvmmsg(2)).
Answer SocketCalls::sys_recvmmsg(const Args& args) {
  const std::uint64_t count = std::min(args[2], most_messages);
  const Or<std::uint64_t> timeout_ns = timeout_at(args[4]);
  const Or<std::shared_ptr<OpenFile>> file = socket_at(args[0]);
  if (!timeout_ns || !file) {
    return -Answer{timeout_ns ? file.error() : timeout_ns.error()};
  }
  const std::uint64_t until_ns = deadline_of(*timeout_ns);
  std::uint64_t flags = args[3] & ~std::uint64_t{MSG_WAITFORONE};
  Answer failed = 0;
  std::uint64_t got = 0;
  bool is_late = false;
  for (; got < count && !is_late; ++got) {
    failed = do_one_of(args, got, &SocketCalls::sys_recvmsg, flags);
    if (failed < 0) {
      break;
    }
    flags |= (args[3] & MSG_WAITFORONE) != 0 ? std::uint64_t{MSG_DONTWAIT} : 0;
    is_late = until_ns != Machine::never && machine_.now_ns() >= until_ns;
  }
  if (got == 0) {
    return std::min<Answer>(failed, 0);
  }
  if (until_ns != Machine::never) {
    const std::uint64_t now_ns = machine_.now_ns();
    const timespec left = to_timespec(until_ns > now_ns ? until_ns - now_ns : 0);
    if (!user_.store(args[4], left)) {
      return -EFAULT;
    }
  }
  return static_cast<Answer>(got);
}

} // namespace guest::linux
