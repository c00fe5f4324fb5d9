// SPDX-License-Identifier: MIT
// What a link itself is when it is open (O_PATH and O_NOFOLLOW): a place to be looked at.
#pragma once

#include "guest/linux/files/file.hpp"

namespace guest::linux {

class PlaceFile final : public File {
 public:
  explicit PlaceFile(const abi::FileStat& stat) : stat_(stat) {}

  [[nodiscard]] Or<abi::FileStat> stat() override { return stat_; }

 private:
  abi::FileStat stat_; // as it was when it was opened
};

} // namespace guest::linux
