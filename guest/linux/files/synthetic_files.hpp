// SPDX-License-Identifier: MIT
// What programs read below /dev, /proc and /sys: made here, never the host's. A row in the table of
// synthetic_files.cpp is a file. Pure.
#pragma once

#include <string_view>

#include "guest/linux/files/file_system.hpp"
#include "guest/linux/files/synthetic_texts.hpp"

namespace guest::linux {

class SyntheticFiles final : public FileSystem {
 public:
  explicit SyntheticFiles(const SyntheticFacts& facts) : facts_(facts) {}

  // Paths are whole ones.
  [[nodiscard]] Or<abi::FileStat> look_up(std::string_view path) override;
  [[nodiscard]] Or<Text> link_text(std::string_view path) override;
  [[nodiscard]] Or<File*> open(std::string_view path, FileAccess access,
                               const abi::FileStat& stat) override;
  [[nodiscard]] Or<abi::FileSpace> space(std::string_view path) override;

 private:
  const SyntheticFacts facts_;
};

} // namespace guest::linux
