// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/socket.hpp"

#include <sys/stat.h>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t socket_device = 8;
constexpr std::uint64_t socket_system = 0x534F434B; // SOCKFS_MAGIC
constexpr std::uint32_t all_rights = 07777;

} // namespace

int Socket::set_option(abi::SocketOption option, std::int64_t value) {
  traits_.options.set(option, value);
  return 0;
}

Or<std::int64_t> Socket::option(abi::SocketOption option) {
  return traits_.options.get(option);
}

// ---- as a file ---------------------------------------------------------------------------------

Or<std::uint64_t> Socket::read(std::uint64_t /*offset*/, std::span<std::byte> to) {
  if (to.empty()) {
    return 0;
  }
  const Or<Received> got = receive(to, Taking::yes);
  return got ? Or<std::uint64_t>(got->bytes) : std::unexpected(got.error());
}

Or<std::uint64_t> Socket::write(std::uint64_t /*offset*/, std::span<const std::byte> from) {
  return send(from, {}, More::no);
}

Or<std::uint64_t> Socket::peek(std::span<std::byte> to) {
  if (kind_ != Kind::stream) {
    return std::unexpected(EINVAL); // what is not read whole is lost
  }
  const Or<Received> got = receive(to, Taking::no);
  return got ? Or<std::uint64_t>(got->bytes) : std::unexpected(got.error());
}

Or<abi::FileStat> Socket::stat() {
  return abi::FileStat{.device = socket_device,
                       .inode = traits_.inode,
                       .links = 1,
                       .mode = S_IFSOCK | mode_,
                       .user = owner_.user,
                       .group = owner_.group,
                       .block_bytes = abi::page_bytes};
}

int Socket::set_mode(std::uint32_t mode) {
  mode_ = mode & all_rights;
  return 0;
}

int Socket::set_owner(const abi::FileOwner& owner) {
  owner_.user = owner.user == abi::file_owner_kept ? owner_.user : owner.user;
  owner_.group = owner.group == abi::file_owner_kept ? owner_.group : owner.group;
  return 0;
}

Or<abi::FileSpace> Socket::space() {
  return abi::FileSpace{.type = socket_system, .block_bytes = abi::page_bytes, .name_bytes = 255};
}

} // namespace guest::linux
