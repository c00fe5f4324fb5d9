// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/bound_names.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace guest::linux {

namespace {

// net.ipv4.ip_local_port_range
constexpr std::uint16_t first_port = 32768;
constexpr std::uint16_t ports = 60999 - first_port + 1;
// Autobind of unix(7): five hexadecimal digits.
constexpr std::uint32_t unix_names = 1U << 20;

// Whether connections to `to` come to who has `name`.
bool covers(const BoundName& bound, const SocketName& to) {
  const SocketName& name = bound.name;
  if (to.family == AF_UNIX || name.family == AF_UNIX) {
    return to.family == name.family && to.is_path() == name.is_path() &&
           (to.is_path() ? to.device == name.device && to.inode == name.inode
                         : to.unix_name == name.unix_name);
  }
  if (to.port() != name.port()) {
    return false;
  }
  if (name.is_any()) {
    const bool is_version_6 = to.as_version_4().family == AF_INET6;
    return name.family == AF_INET ? !is_version_6 : is_version_6 || !bound.is_version_6_only;
  }
  return name.is_same_host(to);
}

} // namespace

template <typename Test> std::shared_ptr<BoundName> BoundNames::find(Test test) {
  std::erase_if(names_, [](const std::weak_ptr<BoundName>& name) { return name.expired(); });
  for (const std::weak_ptr<BoundName>& one : names_) {
    if (std::shared_ptr<BoundName> name = one.lock(); name && test(*name)) {
      return name;
    }
  }
  return nullptr;
}

bool BoundNames::collides(const BoundName& wanted) {
  return find([&](const BoundName& other) {
           if (!covers(other, wanted.name) && !covers(wanted, other.name)) {
             return false;
           }
           const bool share =
               (wanted.reuses_address && other.reuses_address && other.listener == nullptr) ||
               (wanted.reuses_port && other.reuses_port);
           return wanted.name.family == AF_UNIX || !share;
         }) != nullptr;
}

Or<std::shared_ptr<BoundName>> BoundNames::take(const BoundName& wanted) {
  BoundName name = wanted;
  const bool is_unix = name.name.family == AF_UNIX;
  if (!is_unix && !name.name.is_any() && !name.name.is_loopback()) {
    return std::unexpected(EADDRNOTAVAIL);
  }
  const bool is_to_be_chosen = is_unix ? name.name.unix_name.empty() : name.name.port() == 0;
  std::uint32_t tries = !is_to_be_chosen ? 1 : is_unix ? unix_names : ports;
  for (; tries != 0; --tries) {
    if (is_to_be_chosen && is_unix) {
      constexpr char digits[] = "0123456789abcdef";
      name.name.unix_name = {'\0'};
      for (int shift = 16; shift >= 0; shift -= 4) {
        name.name.unix_name.push_back(digits[(next_unix_name_ >> shift) & 15]);
      }
      next_unix_name_ = (next_unix_name_ + 1) % unix_names;
    } else if (is_to_be_chosen) {
      name.name.internet.port = static_cast<std::uint16_t>(first_port + next_port_);
      next_port_ = (next_port_ + 1) % ports;
    }
    if (!collides(name)) {
      auto taken = std::shared_ptr<BoundName>(new BoundName(name));
      names_.push_back(taken);
      return taken;
    }
  }
  return std::unexpected(EADDRINUSE);
}

int BoundNames::may_listen(const BoundName& name) {
  const auto other = find([&](const BoundName& one) {
    return &one != &name && one.listener != nullptr &&
           (covers(one, name.name) || covers(name, one.name)) &&
           !(name.reuses_port && one.reuses_port);
  });
  return other ? EADDRINUSE : 0;
}

ListeningSocket* BoundNames::listener_at(const SocketName& name) {
  const auto found =
      find([&](const BoundName& one) { return one.listener != nullptr && covers(one, name); });
  return found ? found->listener : nullptr;
}

Or<std::shared_ptr<Mailbox>> BoundNames::mailbox_at(const SocketName& name) {
  const auto found = find([&](const BoundName& one) { return covers(one, name); });
  if (found == nullptr) {
    return std::unexpected(ECONNREFUSED);
  }
  std::shared_ptr<Mailbox> mailbox = found->mailbox.lock();
  return mailbox == nullptr ? Or<std::shared_ptr<Mailbox>>(std::unexpected(EPROTOTYPE)) : mailbox;
}

bool BoundNames::is_taken(const SocketName& name) {
  return find([&](const BoundName& one) { return covers(one, name); }) != nullptr;
}

} // namespace guest::linux
