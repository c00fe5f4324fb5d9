// SPDX-License-Identifier: MIT
// The calls on sockets (program_calls.hpp says how calls are done).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "guest/linux/process/call_support.hpp"
#include "guest/linux/sockets/datagram_socket.hpp"
#include "guest/linux/sockets/socket.hpp"

namespace guest::linux {

class SocketCalls : protected CallSupport {
 public:
  using CallSupport::CallSupport;

 protected:
  ~SocketCalls() = default;

  // ---- calls_sockets.cpp
  using SharedFiles = std::vector<std::shared_ptr<OpenFile>>;
  [[nodiscard]] Or<std::shared_ptr<OpenFile>> socket_at(std::uint64_t descriptor) const;
  [[nodiscard]] Or<std::shared_ptr<OpenFile>>
  socket_to_move(std::uint64_t descriptor, std::uint64_t address, std::uint64_t bytes) const;
  // What goes along with bytes: files, and to whom; null: to the other end.
  struct Sending {
    SharedFiles files{};
    std::shared_ptr<Mailbox> to{};
    std::uint64_t flags = 0; // MSG_
  };
  [[nodiscard]] Answer send_piece(const OpenFile& file, std::span<const std::byte> piece,
                                  BytesOf whose, const Sending& with);
  [[nodiscard]] Answer send_parts(const OpenFile& file, const std::vector<iovec>& parts,
                                  Sending with);
  // Whom a struct sockaddr of so many bytes names for a message; null: nobody but the other end.
  [[nodiscard]] Or<std::shared_ptr<Mailbox>> receiver_at(Socket& from, std::uint64_t address,
                                                         std::uint64_t bytes);
  // What is told of a message that was longer than there was room (MSG_TRUNC).
  [[nodiscard]] static Answer received_bytes(const Socket::Received& got, std::uint64_t flags) {
    return static_cast<Answer>((flags & MSG_TRUNC) != 0 ? got.whole_bytes : got.bytes);
  }
  [[nodiscard]] Or<Socket::Received> receive_piece(const OpenFile& file, std::span<std::byte> to,
                                                   BytesOf whose, std::uint64_t flags);
  [[nodiscard]] Or<Socket::Received>
  receive_message(const OpenFile& file, const std::vector<iovec>& parts, std::uint64_t flags);
  [[nodiscard]] Or<Socket::Received>
  receive_parts(const OpenFile& file, const std::vector<iovec>& parts, std::uint64_t flags);
  Answer sys_socketpair(const Args& args);
  Answer sys_sendto(const Args& args);
  Answer sys_recvfrom(const Args& args);
  Answer sys_shutdown(const Args& args);

  // ---- calls_socket_messages.cpp
  struct SocketMessage {
    std::shared_ptr<OpenFile> file;
    msghdr header{};
    std::vector<iovec> parts;
  };
  [[nodiscard]] Or<SocketMessage> message_at(std::uint64_t descriptor, std::uint64_t address) const;
  [[nodiscard]] Or<SharedFiles> files_to_send(const msghdr& message) const;
  [[nodiscard]] std::uint64_t put_control(std::uint64_t to, std::uint64_t room, std::int32_t type,
                                          std::span<const std::byte> content) const;
  [[nodiscard]] std::uint64_t receive_control(const Socket& socket, SharedFiles files,
                                              const msghdr& message, std::uint64_t flags,
                                              std::int32_t& told);
  Answer sys_sendmsg(const Args& args);
  Answer sys_recvmsg(const Args& args);
  using MessageCall = Answer (SocketCalls::*)(const Args& args);
  [[nodiscard]] Answer do_one_of(const Args& args, std::uint64_t index, MessageCall call,
                                 std::uint64_t flags);
  Answer sys_sendmmsg(const Args& args);
  Answer sys_recvmmsg(const Args& args);

  // ---- calls_network.cpp
  [[nodiscard]] Or<SocketName> socket_name_at(std::uint64_t address, std::uint64_t bytes) const;
  [[nodiscard]] int find_socket_file(SocketName& name);
  [[nodiscard]] int make_socket_file(SocketName& name);
  [[nodiscard]] Or<std::shared_ptr<Mailbox>> mailbox_at(SocketName name);
  [[nodiscard]] int connect_datagrams(DatagramSocket& socket, const SocketName& name);
  // Who wants to be told of senders has a name to be told, too.
  void name_sender(DatagramSocket& socket);
  [[nodiscard]] Answer put_socket_name(const SocketName& name, std::uint64_t address,
                                       std::uint64_t bytes_address) const;
  Answer sys_socket(const Args& args);
  Answer sys_bind(const Args& args);
  Answer sys_listen(const Args& args);
  static void disconnect(OpenFile& file);
  Answer sys_connect(const Args& args);
  Answer sys_accept(const Args& args);
  Answer sys_accept4(const Args& args);
  Answer sys_getsockname(const Args& args);
  Answer sys_getpeername(const Args& args);

  // ---- calls_socket_options.cpp
  Answer sys_getsockopt(const Args& args);
  Answer sys_setsockopt(const Args& args);

 private:
  // Since boot, when so long is over from now on.
  [[nodiscard]] std::uint64_t deadline_of(std::uint64_t timeout_ns) const {
    return timeout_ns == wait_for_ever ? Machine::never : machine_.now_ns() + timeout_ns;
  }
  // As wait_for_stream(); -EAGAIN when it is not by then.
  [[nodiscard]] Answer wait_for_socket(const OpenFile& file, Readiness wanted,
                                       std::uint64_t until_ns);
};

} // namespace guest::linux
