// SPDX-License-Identifier: MIT
// The calls on sockets (program_calls.hpp says how calls are done).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "guest/linux/files/local_socket.hpp"
#include "guest/linux/process/call_support.hpp"

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
  struct SocketMessage {
    std::shared_ptr<OpenFile> file;
    msghdr header{};
    std::vector<iovec> parts;
  };
  [[nodiscard]] Or<SocketMessage> message_at(std::uint64_t descriptor, std::uint64_t address) const;
  [[nodiscard]] Or<SharedFiles> files_to_send(const msghdr& message) const;
  [[nodiscard]] Answer send_piece(const OpenFile& file, std::span<const std::byte> piece,
                                  BytesOf whose, const SharedFiles& files, std::uint64_t flags);
  [[nodiscard]] Answer send_parts(const OpenFile& file, const std::vector<iovec>& parts,
                                  SharedFiles files, std::uint64_t flags);
  [[nodiscard]] Or<LocalSocket::Received>
  receive_parts(const OpenFile& file, const std::vector<iovec>& parts, std::uint64_t flags);
  [[nodiscard]] std::uint64_t put_control(std::uint64_t to, std::uint64_t room, std::int32_t type,
                                          std::span<const std::byte> content) const;
  [[nodiscard]] std::uint64_t receive_control(const LocalSocket& socket, SharedFiles files,
                                              const msghdr& message, std::uint64_t flags,
                                              std::int32_t& told);
  Answer sys_socketpair(const Args& args);
  Answer sys_sendto(const Args& args);
  Answer sys_sendmsg(const Args& args);
  Answer sys_recvfrom(const Args& args);
  Answer sys_recvmsg(const Args& args);
  Answer sys_shutdown(const Args& args);
  Answer sys_getsockname(const Args& args);
  Answer sys_getsockopt(const Args& args);
  Answer sys_setsockopt(const Args& args);
};

} // namespace guest::linux
