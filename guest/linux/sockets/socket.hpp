// SPDX-License-Identifier: MIT
// What socket calls can do with an open file that is a socket, whatever it is connected to. What a
// kind cannot do is answered as Linux answers it for most kinds; nothing is waited for: EAGAIN. A
// socket that begins to listen or to connect becomes one of another class, which takes its place in
// the open file. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "guest/linux/files/file.hpp"
#include "guest/linux/sockets/socket_name.hpp"
#include "guest/linux/sockets/tcp_options.hpp"
#include "shared/socket_call.hpp"

namespace guest::linux {

struct OpenFile;

// What setsockopt has said that is only kept, and what every socket has.
struct SocketTraits {
  static constexpr std::uint64_t usual_bytes =
      212992; // of SO_SNDBUF and SO_RCVBUF, as Linux counts

  std::uint64_t inode = 0; // tells sockets apart
  std::uint16_t family = 0;
  std::uint64_t most_sent_bytes = usual_bytes;
  std::uint64_t most_received_bytes = usual_bytes;
  std::uint64_t send_timeout_ns = wait_for_ever; // SO_SNDTIMEO
  std::uint64_t receive_timeout_ns = wait_for_ever;
  bool tells_senders = false; // SO_PASSCRED
  bool reuses_address = false;
  bool reuses_port = false;
  bool is_version_6_only = false;
  TcpOptions options; // a connection begins with those of its listener
};

class UnconnectedSocket;
class DatagramSocket;

class Socket : public File {
 public:
  enum class Kind : std::uint8_t {
    stream,    // bytes without bounds
    datagrams, // messages; that the other end is gone is told to who sends alone
    packets,   // messages, with an end (SOCK_SEQPACKET)
  };
  using Files = std::vector<std::shared_ptr<OpenFile>>;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] SocketTraits& traits() { return traits_; }
  [[nodiscard]] const SocketTraits& traits() const { return traits_; }

  enum class More : std::uint8_t { no, follows };
  // Bytes sent: of a stream as many as there is room for. Files go along with the first of them.
  // EAGAIN, EPIPE, ECONNREFUSED, ENOTCONN; EMSGSIZE: no message is that long.
  [[nodiscard]] virtual Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files,
                                               More more) = 0;
  enum class Taking : std::uint8_t { no, yes };
  struct Received {
    std::uint64_t bytes = 0;
    std::uint64_t whole_bytes = 0; // of the message; more: the rest of it is lost
    Files files;
    SocketName from{}; // who sent it, of datagrams
  };
  // Without bytes: the end. Of a stream as far as the first that files go along with. EAGAIN,
  // ENOTCONN; ECONNRESET, once, when the other end has gone without having read all.
  [[nodiscard]] virtual Or<Received> receive(std::span<std::byte> to, Taking taking) = 0;
  struct Ends {
    bool reading = false;
    bool writing = false;
  };
  [[nodiscard]] virtual int shut_down(Ends /*ends*/) { return ENOTCONN; } // 0 or an error number
  // What SO_ERROR tells, once.
  [[nodiscard]] virtual int take_error() { return 0; }
  // What connect(2) of one that is no UnconnectedSocket says: EISCONN; EALREADY while it is on the
  // way; 0 or what went wrong, once, when that is over.
  [[nodiscard]] virtual int connect_again() { return is_listening() ? EINVAL : EISCONN; }
  // Has one end that it came from or goes to; it may still be on the way there.
  [[nodiscard]] virtual bool is_connected() const { return false; }
  [[nodiscard]] virtual bool is_listening() const { return false; }
  // Of one that listens.
  virtual void set_backlog(std::uint32_t /*backlog*/) {}
  struct Accepted {
    Socket* socket = nullptr; // the caller's
    SocketName peer;
  };
  // The next that has connected to this one. EINVAL: it does not listen.
  [[nodiscard]] virtual Or<Accepted> accept() { return std::unexpected(EINVAL); }
  [[nodiscard]] virtual Or<SocketName> own_name() {
    SocketName none;
    none.family = none.internet.family = traits_.family;
    return none;
  }
  [[nodiscard]] virtual Or<SocketName> peer_name() { return std::unexpected(ENOTCONN); }
  // Of TCP. 0 or an error number.
  [[nodiscard]] virtual int set_option(abi::SocketOption option, std::int64_t value);
  [[nodiscard]] virtual Or<std::int64_t> option(abi::SocketOption option);

  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) override;
  [[nodiscard]] Or<std::uint64_t> peek(std::span<std::byte> to) override;
  [[nodiscard]] Or<abi::FileStat> stat() override;
  [[nodiscard]] int set_mode(std::uint32_t mode) override;
  [[nodiscard]] int set_owner(const abi::FileOwner& owner) override;
  [[nodiscard]] Or<abi::FileSpace> space() override;
  [[nodiscard]] bool is_stream() const override { return true; }
  [[nodiscard]] bool is_pollable() override { return true; }
  [[nodiscard]] Socket* socket() override { return this; }
  // Null: it is another.
  [[nodiscard]] virtual UnconnectedSocket* unconnected() { return nullptr; }
  [[nodiscard]] virtual DatagramSocket* datagrams() { return nullptr; }

 protected:
  Socket(Kind kind, const SocketTraits& traits) : kind_(kind), traits_(traits) {}

 private:
  Kind kind_;
  SocketTraits traits_;
  std::uint32_t mode_ = 0777; // rights
  abi::FileOwner owner_{0, 0};
};

} // namespace guest::linux
