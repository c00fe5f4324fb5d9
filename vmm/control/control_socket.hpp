// SPDX-License-Identifier: MIT
// A Unix stream socket that takes lines and answers each with one line, at once or later. It knows
// nothing of what the lines mean.
//
// A client may hand over an open file with a line (SCM_RIGHTS), one at a time.
//
// Clients are not trusted to behave: lines are bounded, a client that does not read its answers is
// not read from, nor is one that waits for an answer, and there is a limit to how many there are at
// a time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/control/control_reply.hpp"
#include "vmm/io/unix_listener.hpp"

namespace vmm {

class ControlSocket {
 public:
  // Answers lines (without their ends). Called on the socket's thread.
  struct Handler {
    // `file`: what the client has handed over and no earlier line has taken; taken if it is moved
    // from. May be none.
    std::function<ControlReply(std::string_view line, UniqueFd& file)> answer;
    std::function<std::string()> too_long; // a line that is none
    std::function<std::string()> too_many; // a client that has no place
    // Set when something has happened that clients may wait for; outlives the socket. Null: they
    // wait for the end alone.
    const Event* news = nullptr;
  };

  static constexpr std::size_t max_line_bytes = 1024;
  static constexpr std::size_t max_clients = 8;
  static constexpr std::size_t max_pending_bytes = std::size_t{64} << 10;

  // Makes the socket at `path`; clients wait until start(). Errors are those of UnixListener.
  static Result<std::unique_ptr<ControlSocket>> create(const std::string& path, Handler handler);
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  // Ends it, and removes the socket if it is still this one.
  ~ControlSocket();

  // Starts serving; once.
  [[nodiscard]] Result<void> start(ThreadStart on_start = {});

  // Gives those who wait a last answer if there is one, ends the thread and closes all clients.
  void end();

 private:
  struct Client {
    UniqueFd fd;
    std::string input;           // at most one line and what was read with it
    std::string output;          // not yet sent
    ControlReply::Later later{}; // of the answer that is waited for; empty: none
    UniqueFd file{};             // handed over (SCM_RIGHTS), the latest
    bool skipping = false;       // the rest of a line that was too long
    bool ended = false;          // the client sends no more
  };

  ControlSocket(UnixListener listener, Event stopped, Handler handler);

  void run();
  [[nodiscard]] static short wanted_events(const Client& client);
  // False when the client is to be closed.
  bool serve(Client& client, short events);
  void answer_waiting();
  void serve_last();
  void accept_client();
  bool receive(Client& client);
  [[nodiscard]] static ssize_t read(Client& client, std::span<char> to);
  bool send(Client& client);
  void answer_lines(Client& client);
  void answer(Client& client, std::string_view line);
  static void put(Client& client, std::string_view text);

  UnixListener listener_;
  const Event stopped_;
  const Handler handler_;
  std::vector<Client> clients_;
  bool accepting_ = true; // false for a moment after the host could not take a client in
  Thread thread_;         // last: it uses the others
};

} // namespace vmm
