// SPDX-License-Identifier: MIT
// A Unix stream socket that takes lines and answers each with one line. It knows nothing of what
// the lines mean.
//
// Clients are not trusted to behave: lines are bounded, a client that does not read its answers is
// not read from, and there is a limit to how many there are at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/io/unix_listener.hpp"

namespace vmm {

class ControlSocket {
 public:
  // Answers a line (without its end) with a line (likewise). Called on the socket's thread.
  using Handler = std::function<std::string(std::string_view line)>;

  static constexpr std::size_t max_line_bytes = 1024;
  static constexpr std::size_t max_clients = 8;
  static constexpr std::size_t max_pending_bytes = std::size_t{64} << 10;

  // Makes the socket at `path`; clients wait until start(). Errors are those of UnixListener.
  static Result<std::unique_ptr<ControlSocket>> create(const std::string& path, Handler handler);
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  // Ends the thread, closes all clients, and removes the socket if it is still this one.
  ~ControlSocket();

  // Starts serving; once.
  [[nodiscard]] Result<void> start(ThreadStart on_start = {});

 private:
  struct Client {
    UniqueFd fd;
    std::string input;     // at most one line and what was read with it
    std::string output;    // not yet sent
    bool skipping = false; // the rest of a line that was too long
    bool ended = false;    // the client sends no more
  };

  ControlSocket(UnixListener listener, UniqueFd stop, Handler handler);

  void run();
  void accept_client();
  // False when the client is to be closed.
  bool receive(Client& client);
  bool send(Client& client);
  void answer_lines(Client& client);
  void answer(Client& client, std::string_view line);

  UnixListener listener_;
  UniqueFd stop_;
  const Handler handler_;
  std::vector<Client> clients_;
  bool accepting_ = true; // false for a moment after the host could not take a client in
  Thread thread_;         // last: it uses the others
};

} // namespace vmm
