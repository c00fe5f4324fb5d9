// SPDX-License-Identifier: MIT
// A socket of AF_UNIX for datagrams: messages to names and from anybody, or between two (unix(7)).
// Pure.
#pragma once

#include <memory>

#include "guest/linux/sockets/bound_names.hpp"
#include "guest/linux/sockets/mailbox.hpp"

namespace guest::linux {

class DatagramSocket final : public Socket {
 public:
  explicit DatagramSocket(const SocketTraits& traits);
  ~DatagramSocket() override;
  // As socketpair(2) makes them; both belong to the caller.
  struct Pair {
    DatagramSocket* one = nullptr;
    DatagramSocket* other = nullptr;
  };
  [[nodiscard]] static Pair make_pair(const SocketTraits& one, const SocketTraits& other);

  [[nodiscard]] const std::shared_ptr<Mailbox>& mailbox() const { return own_; }
  [[nodiscard]] bool has_name() const { return name_ != nullptr; }
  // Under which others find it.
  void take_name(std::shared_ptr<BoundName> name);
  // Messages without a name go there from now on, and come from there alone; null: nowhere, and
  // from anybody. What has come before is lost. 0; EPERM: that one is connected to another.
  [[nodiscard]] int connect(std::shared_ptr<Mailbox> to);

  // One message, whole. As send(), and EPERM. What is EAGAIN goes when it is `file_takes_message`.
  [[nodiscard]] Or<std::uint64_t> send_to(const std::shared_ptr<Mailbox>& to,
                                          std::span<const std::byte> bytes, Files files);
  [[nodiscard]] Or<std::uint64_t> send(std::span<const std::byte> bytes, Files files,
                                       More more) override;
  [[nodiscard]] Or<Received> receive(std::span<std::byte> to, Taking taking) override;
  [[nodiscard]] int shut_down(Ends ends) override;
  [[nodiscard]] int take_error() override;
  [[nodiscard]] bool is_connected() const override { return own_->peer != nullptr; }
  [[nodiscard]] Or<SocketName> own_name() override { return own_->name; }
  [[nodiscard]] Or<SocketName> peer_name() override;
  [[nodiscard]] DatagramSocket* datagrams() override { return this; }

  [[nodiscard]] Or<std::uint64_t> readable_bytes() override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;

 private:
  [[nodiscard]] bool is_writable() const;
  [[nodiscard]] bool would_take_refused() const;

  std::shared_ptr<Mailbox> own_;
  std::shared_ptr<BoundName> name_; // null: it has none
  std::weak_ptr<Mailbox> full_;     // which refused a message last
};

} // namespace guest::linux
