// SPDX-License-Identifier: MIT
// Listens for debuggers and serves one at a time, on a thread of its own. One that detaches, or
// whose connection breaks off, leaves the guest going; another may come then.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/debug/debug_target.hpp"
#include "vmm/debug/gdb_session.hpp"
#include "vmm/io/unix_listener.hpp"
#include "vmm/settings/gdb_address.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

class GdbServer {
 public:
  // Listens; connections are served from start() on. `target` and `end` outlive the server. A port
  // that is in use and a path that cannot be used are user errors.
  static Result<std::unique_ptr<GdbServer>> create(const GdbAddress& address, DebugTarget& target,
                                                   const GuestEnd& end);
  GdbServer(const GdbServer&) = delete;
  GdbServer& operator=(const GdbServer&) = delete;
  // Ends the thread. A debugger that is still connected is told of the guest's end, if it has
  // ended.
  ~GdbServer();

  // Serves connections, once. Environment error when the host has no thread to give.
  [[nodiscard]] Result<void> start(ThreadStart on_start = {});

  // For gdb's command `target remote`: "127.0.0.1:1234" or a path.
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  struct Client {
    Client(UniqueFd socket, GdbServer& server)
        : fd(std::move(socket)), session(server.target_, [this, &server](std::string_view bytes) {
            server.send(fd.get(), bytes);
          }) {}
    UniqueFd fd;
    GdbSession session;
  };

  GdbServer(std::optional<UnixListener> unix_socket, UniqueFd tcp_socket, std::string address,
            Event stop, DebugTarget& target, const GuestEnd& end)
      : unix_socket_(std::move(unix_socket)), tcp_socket_(std::move(tcp_socket)),
        address_(std::move(address)), stop_(std::move(stop)), target_(target), end_(end) {}

  void run();
  void accept_client();
  // False when the connection is to be closed.
  [[nodiscard]] bool receive() const;
  void send(int fd, std::string_view bytes) const;
  void say_goodbye();
  void linger() const;
  [[nodiscard]] int listener() const {
    return unix_socket_ ? unix_socket_->fd() : tcp_socket_.get();
  }

  std::optional<UnixListener> unix_socket_;
  UniqueFd tcp_socket_;
  const std::string address_;
  Event stop_;
  DebugTarget& target_;
  const GuestEnd& end_;
  std::unique_ptr<Client> client_; // of the thread alone, as is the next
  bool accepting_ = true;          // false for a moment after the host could not take one in
  Thread thread_;                  // last: it uses the others
};

} // namespace vmm
