// SPDX-License-Identifier: MIT
#include "guest/linux/files/directory_entries.hpp"

#include <cstring>

#include "shared/address.hpp"

namespace guest::linux {

bool DirectoryEntries::add(std::string_view name, std::uint64_t inode, std::uint8_t type,
                           std::uint64_t next) {
  const std::uint64_t bytes =
      abi::align_up(abi::directory_entry_name + name.size() + 1, alignof(abi::DirectoryEntry));
  if (bytes > to_.size() - used_) {
    return false;
  }
  const abi::DirectoryEntry head{
      .inode = inode, .next = next, .bytes = static_cast<std::uint16_t>(bytes), .type = type};
  std::byte* const at = to_.data() + used_;
  std::memset(at, 0, bytes);
  std::memcpy(at, &head, abi::directory_entry_name);
  std::memcpy(at + abi::directory_entry_name, name.data(), name.size());
  used_ += bytes;
  return true;
}

} // namespace guest::linux
