// SPDX-License-Identifier: MIT
// A file that only a descriptor names, with neither content nor position ("anon_inode" of Linux).
// Pure.
#pragma once

#include <cstdint>

#include "guest/linux/files/file.hpp"
#include "shared/address.hpp"

namespace guest::linux {

class NamelessFile : public File {
 public:
  [[nodiscard]] Or<abi::FileStat> stat() override {
    constexpr std::uint64_t device = 7;
    return abi::FileStat{
        .device = device, .inode = 1, .links = 1, .mode = 0600U, .block_bytes = abi::page_bytes};
  }
  [[nodiscard]] Or<abi::FileSpace> space() override {
    constexpr std::uint64_t system = 0x09041934; // ANON_INODE_FS_MAGIC
    return abi::FileSpace{.type = system, .block_bytes = abi::page_bytes, .name_bytes = 255};
  }
  [[nodiscard]] bool is_stream() const override { return true; }
  [[nodiscard]] bool is_pollable() override { return true; }
  [[nodiscard]] Or<std::uint64_t> seek(std::int64_t /*offset*/, std::uint32_t /*whence*/) override {
    return 0; // wherever to
  }
};

} // namespace guest::linux
