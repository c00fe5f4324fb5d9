// SPDX-License-Identifier: MIT
// A socket that is connected to another one in the guest: socketpair(2) of AF_UNIX, as unix(7) has
// it. What is sent waits with the other one; nothing is waited for here. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "guest/linux/files/file.hpp"

namespace guest::linux {

struct OpenFile;

class LocalSocket final : public File {
 public:
  enum class Kind : std::uint8_t {
    stream,    // bytes without bounds
    datagrams, // messages; that the other end is gone is told to who sends alone
    packets,   // messages, with an end (SOCK_SEQPACKET)
  };
  using Files = std::vector<std::shared_ptr<OpenFile>>;
  struct Pair {
    LocalSocket* one = nullptr;
    LocalSocket* other = nullptr;
  };
  // Both belong to the caller. `inode` and the next tell sockets apart.
  [[nodiscard]] static Pair make(Kind kind, std::uint64_t inode);
  ~LocalSocket() override;

  [[nodiscard]] Kind kind() const { return kind_; }
  // Bytes sent: of a stream as many as there is room for. Files go along with the first of them.
  // EAGAIN, EPIPE, ECONNREFUSED, ENOTCONN; EMSGSIZE: no message is that long.
  [[nodiscard]] Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files);
  enum class Taking : std::uint8_t { no, yes };
  struct Received {
    std::uint64_t bytes = 0;
    std::uint64_t whole_bytes = 0; // of the message; more: the rest of it is lost
    Files files;
  };
  // Without bytes: the end. Of a stream as far as the first that files go along with. EAGAIN;
  // ECONNRESET, once, when the other end has gone without having read all.
  [[nodiscard]] Or<Received> receive(std::span<std::byte> to, Taking taking);
  struct Ends {
    bool reading = false;
    bool writing = false;
  };
  void shut_down(Ends ends);
  // What SO_ERROR tells, once.
  [[nodiscard]] int take_error();

  // SO_SNDBUF, in bytes, as Linux counts them.
  static constexpr std::uint64_t usual_bytes = 212992;
  static constexpr std::uint64_t least_bytes = 4608;
  std::uint64_t most_sent_bytes = usual_bytes;
  std::uint64_t most_received_bytes = usual_bytes; // SO_RCVBUF, which is only kept
  bool tells_senders = false;                      // SO_PASSCRED

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
  [[nodiscard]] Or<std::uint64_t> readable_bytes() override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;
  [[nodiscard]] LocalSocket* socket() override { return this; }

 private:
  struct Side;
  LocalSocket(Kind kind, std::uint64_t inode, std::shared_ptr<Side> own,
              std::shared_ptr<Side> other);

  [[nodiscard]] bool is_writable() const;

  Kind kind_;
  std::uint64_t inode_;
  std::uint32_t mode_;
  abi::FileOwner owner_{0, 0};
  std::shared_ptr<Side> own_;
  std::shared_ptr<Side> other_;
  bool was_refused_ = false; // the other end of datagrams was gone
};

} // namespace guest::linux
