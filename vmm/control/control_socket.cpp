// SPDX-License-Identifier: MIT
#include "vmm/control/control_socket.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vmm {
namespace {

// How long nobody is taken in after the host could not.
constexpr int accept_again_ms = 100;

} // namespace

Result<std::unique_ptr<ControlSocket>> ControlSocket::create(const std::string& path,
                                                             Handler handler) {
  EBB_TRY_ASSIGN(listener, UnixListener::create("--control", path));
  EBB_TRY_ASSIGN(stopped, Event::create("the control socket"));
  return std::unique_ptr<ControlSocket>(
      new ControlSocket(std::move(listener), std::move(stopped), std::move(handler)));
}

ControlSocket::ControlSocket(UnixListener listener, Event stopped, Handler handler)
    : listener_(std::move(listener)), stopped_(std::move(stopped)), handler_(std::move(handler)) {
  clients_.reserve(max_clients);
}

ControlSocket::~ControlSocket() {
  end();
}

void ControlSocket::end() {
  stopped_.set();
  if (thread_.joinable()) {
    thread_.join();
  }
  clients_.clear();
}

Result<void> ControlSocket::start(ThreadStart on_start) {
  EBB_TRY_ASSIGN(thread,
                 Thread::make("the control socket", std::move(on_start), [this] { run(); }));
  thread_ = std::move(thread);
  return {};
}

void ControlSocket::run() {
  while (true) {
    constexpr std::size_t first_client = 3;
    std::array<pollfd, first_client + max_clients> events{};
    events[0] = {stopped_.fd(), POLLIN, 0};
    events[1] = {handler_.news == nullptr ? -1 : handler_.news->fd(), POLLIN, 0};
    // Who cannot be taken in stays in the queue and would wake us again at once.
    events[2] = {accepting_ ? listener_.fd() : -1, POLLIN, 0};
    const std::size_t polled = clients_.size();
    for (std::size_t index = 0; index < polled; ++index) {
      events[first_client + index] = {clients_[index].fd.get(), wanted_events(clients_[index]), 0};
    }
    if (::poll(events.data(), first_client + polled, accepting_ ? -1 : accept_again_ms) < 0) {
      continue; // a signal
    }
    accepting_ = true;
    if (events[0].revents != 0) {
      answer_waiting();
      serve_last();
      return;
    }
    if (events[1].revents != 0) {
      handler_.news->clear();
      answer_waiting();
    }
    for (std::size_t index = polled; index-- > 0;) {
      const short happened = events[first_client + index].revents;
      if (happened != 0 && !serve(clients_[index], happened)) {
        clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(index));
      }
    }
    if (events[2].revents != 0) {
      accept_client();
    }
  }
}

// Whoever has asked before the end hears of it; nobody is waited for.
void ControlSocket::serve_last() {
  for (std::size_t left = max_clients - clients_.size(); left > 0; --left) {
    accept_client();
  }
  for (Client& client : clients_) {
    if (!client.later) {
      static_cast<void>(receive(client) && send(client));
    }
  }
  answer_waiting();
}

// Of one who waits nothing is wanted; that it has gone shows all the same.
short ControlSocket::wanted_events(const Client& client) {
  if (!client.output.empty()) {
    return POLLOUT;
  }
  return client.later || client.ended ? 0 : POLLIN;
}

bool ControlSocket::serve(Client& client, short events) {
  if (client.later && client.output.empty()) {
    return (events & (POLLHUP | POLLERR)) == 0;
  }
  // Hang-up and errors show at the next call on the socket.
  return ((events & POLLIN) == 0 || receive(client)) && send(client);
}

void ControlSocket::answer_waiting() {
  std::erase_if(clients_, [this](Client& client) {
    if (!client.later) {
      return false;
    }
    const std::optional<std::string> text = client.later();
    if (!text) {
      return false;
    }
    client.later = {};
    put(client, *text);
    answer_lines(client);
    return !send(client);
  });
}

void ControlSocket::accept_client() {
  UniqueFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    // Gone again; or the process, or the host, is out of descriptors or memory for now.
    accepting_ = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    return;
  }
  if (clients_.size() == max_clients) {
    const std::string refusal = handler_.too_many() + "\n";
    static_cast<void>(::send(fd.get(), refusal.data(), refusal.size(), MSG_NOSIGNAL));
    return;
  }
  clients_.push_back({.fd = std::move(fd), .input = {}, .output = {}});
}

// As recv(), and takes the file that may come with it; the kernel keeps further ones out.
ssize_t ControlSocket::read(Client& client, std::span<char> to) {
  iovec bytes{to.data(), to.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> rights{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = rights.data();
  message.msg_controllen = CMSG_LEN(sizeof(int));
  const ssize_t received = ::recvmsg(client.fd.get(), &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* const header = received < 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len >= CMSG_LEN(sizeof(int))) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    client.file = UniqueFd(fd);
  }
  return received;
}

bool ControlSocket::receive(Client& client) {
  std::array<char, max_line_bytes> chunk{};
  const ssize_t received = read(client, chunk);
  if (received < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  client.ended = received == 0;
  client.input.append(chunk.data(), static_cast<std::size_t>(received));
  answer_lines(client);
  return true;
}

// Sends what there is, goes on answering once it is gone.
bool ControlSocket::send(Client& client) {
  while (!client.output.empty()) {
    const ssize_t sent =
        ::send(client.fd.get(), client.output.data(), client.output.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      return errno == EAGAIN || errno == EINTR;
    }
    client.output.erase(0, static_cast<std::size_t>(sent));
    if (client.output.empty()) {
      answer_lines(client);
    }
  }
  return !client.ended || client.later;
}

void ControlSocket::answer_lines(Client& client) {
  std::size_t start = 0;
  while (client.output.size() < max_pending_bytes && !client.later) {
    const std::size_t end = client.input.find('\n', start);
    if (end == std::string::npos) {
      break;
    }
    if (!std::exchange(client.skipping, false)) {
      answer(client, std::string_view(client.input).substr(start, end - start));
    }
    start = end + 1;
  }
  client.input.erase(0, start);
  if (client.output.size() >= max_pending_bytes || client.later) {
    return;
  }
  // What is left is the beginning of a line, or a last one without an end.
  if (client.input.size() > max_line_bytes && !client.skipping) {
    client.skipping = true;
    answer(client, client.input);
  }
  if (client.skipping) {
    client.input.clear();
  } else if (client.ended && !client.input.empty()) {
    answer(client, std::exchange(client.input, {}));
  }
}

void ControlSocket::answer(Client& client, std::string_view line) {
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  if (line.size() > max_line_bytes) {
    put(client, handler_.too_long());
    return;
  }
  ControlReply reply = handler_.answer(line, client.file);
  std::optional<std::string> text = reply.later ? reply.later() : std::move(reply.text);
  if (text) {
    put(client, *text);
  } else {
    client.later = std::move(reply.later);
  }
}

void ControlSocket::put(Client& client, std::string_view text) {
  const std::size_t start = client.output.size();
  client.output += text;
  std::replace(client.output.begin() + static_cast<std::ptrdiff_t>(start), client.output.end(),
               '\n', ' ');
  client.output += '\n';
}

} // namespace vmm
