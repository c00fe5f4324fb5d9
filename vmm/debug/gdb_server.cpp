// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace vmm {

namespace {

// How long a debugger may take to close its side after the last word, and how much of what it still
// sends is worth reading.
constexpr int linger_ms = 1000;
constexpr unsigned linger_reads = 64;
// How long nobody is taken in after the host could not.
constexpr int accept_again_ms = 100;

// Justified: the socket calls take every kind of address by this type.
sockaddr* generic(sockaddr_in& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

struct TcpListener {
  UniqueFd fd;
  std::uint16_t port = 0;
};

Result<TcpListener> listen_on(std::uint16_t port) {
  const auto cannot = [port](int error) {
    return user_error("--gdb {}: {}", port, errno_text(error));
  };
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  // Without reuse the port of a run that has just ended would be blocked for a minute.
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), generic(address), sizeof address) != 0 || ::listen(fd.get(), 1) != 0 ||
      ::getsockname(fd.get(), generic(address), &bytes) != 0) {
    return cannot(errno);
  }
  return TcpListener{std::move(fd), ntohs(address.sin_port)};
}

} // namespace

Result<std::unique_ptr<GdbServer>> GdbServer::create(const GdbAddress& address, DebugTarget& target,
                                                     const GuestEnd& end) {
  EBB_TRY_ASSIGN(stop, Event::create("the debugger"));
  std::optional<UnixListener> unix_socket;
  TcpListener tcp;
  std::string text = address.path;
  if (!address.path.empty()) {
    EBB_TRY_ASSIGN(listener, UnixListener::create("--gdb", address.path));
    unix_socket.emplace(std::move(listener));
  } else {
    EBB_TRY_ASSIGN(listener, listen_on(address.port));
    tcp = std::move(listener);
    text = fmt::format("127.0.0.1:{}", tcp.port); // a name need not resolve
  }
  return std::unique_ptr<GdbServer>(new GdbServer(std::move(unix_socket), std::move(tcp.fd),
                                                  std::move(text), std::move(stop), target, end));
}

GdbServer::~GdbServer() {
  stop_.set();
}

Result<void> GdbServer::start(ThreadStart on_start) {
  EBB_TRY_ASSIGN(thread, Thread::make("the debugger", std::move(on_start), [this] { run(); }));
  thread_ = std::move(thread);
  return {};
}

void GdbServer::run() {
  while (true) {
    const bool going = client_ && client_->session.running();
    // A negative descriptor is not waited for.
    std::array<pollfd, 5> events{pollfd{stop_.fd(), POLLIN, 0}, pollfd{end_.stop_fd(), POLLIN, 0},
                                 pollfd{accepting_ ? listener() : -1, POLLIN, 0},
                                 pollfd{client_ ? client_->fd.get() : -1, POLLIN, 0},
                                 pollfd{going ? target_.stop_event() : -1, POLLIN, 0}};
    if (::poll(events.data(), events.size(), accepting_ ? -1 : accept_again_ms) < 0) {
      continue; // a signal
    }
    accepting_ = true;
    if (events[0].revents != 0 || events[1].revents != 0) {
      say_goodbye();
      return;
    }
    if (events[4].revents != 0) {
      client_->session.on_stop_event();
    }
    if (events[3].revents != 0 && !receive()) {
      linger();
      client_.reset();
    }
    if (events[2].revents != 0) {
      accept_client();
    }
  }
}

void GdbServer::accept_client() {
  UniqueFd fd(::accept4(listener(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    // Gone again; or the process, or the host, is out of descriptors or memory for now. It stays in
    // the queue then and would wake us again at once.
    accepting_ = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    return;
  }
  if (client_) {
    return; // one too many, closed at once
  }
  // Packets are small and each waits for its answer. Has no effect on Unix sockets.
  const int on = 1;
  static_cast<void>(::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  client_ = std::make_unique<Client>(std::move(fd), *this);
}

bool GdbServer::receive() const {
  std::array<char, 4096> chunk; // NOLINT(*-init-variables): filled by recv
  const ssize_t received = ::recv(client_->fd.get(), chunk.data(), chunk.size(), 0);
  if (received < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  client_->session.receive({chunk.data(), static_cast<std::size_t>(received)});
  return received > 0 && !client_->session.over();
}

// Waits for a debugger that does not read, but not beyond the guest's end. A connection that is
// gone shows at the next receive.
void GdbServer::send(int fd, std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno == EINTR) {
      continue;
    }
    if (errno != EAGAIN) {
      return;
    }
    std::array<pollfd, 3> events{pollfd{fd, POLLOUT, 0}, pollfd{stop_.fd(), POLLIN, 0},
                                 pollfd{end_.stop_fd(), POLLIN, 0}};
    static_cast<void>(::poll(events.data(), events.size(), -1));
    if (events[1].revents != 0 || events[2].revents != 0) {
      return;
    }
  }
}

void GdbServer::say_goodbye() {
  if (!client_) {
    return;
  }
  if (end_.ended()) {
    const bool waits = client_->session.running();
    client_->session.on_end(end_.ending());
    if (waits) {
      linger();
    }
  }
  client_.reset();
}

// What has not been read when a connection closes can throw away what was sent last: lets the
// debugger close first.
void GdbServer::linger() const {
  ::shutdown(client_->fd.get(), SHUT_WR);
  pollfd event{client_->fd.get(), POLLIN, 0};
  std::array<char, 1024> ignored; // NOLINT(*-init-variables): filled by recv
  for (unsigned reads = 0; reads < linger_reads; ++reads) {
    if (::poll(&event, 1, linger_ms) <= 0 ||
        ::recv(client_->fd.get(), ignored.data(), ignored.size(), 0) <= 0) {
      return;
    }
  }
}

} // namespace vmm
