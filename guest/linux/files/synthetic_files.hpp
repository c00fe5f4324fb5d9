// SPDX-License-Identifier: MIT
// What programs read below /dev, /proc and /sys: made here, never the host's. A row in the table of
// synthetic_files.cpp is a file. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/file_system.hpp"
#include "guest/linux/files/file_tree.hpp"
#include "guest/linux/files/open_files.hpp"
#include "guest/linux/files/page_tree.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

// What is told there. All of it outlives the files.
struct SyntheticFacts {
  const Text& program;     // path of what runs
  const Text& arguments;   // with a NUL behind each
  const Text& environment; // likewise
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  Machine& machine;
  PagePool& pages;
  FilePort& port; // for random bytes
  const AddressSpace& memory;
  const OpenFiles& files;
  const FileTree& tree;
  const Text& directory;                 // the working directory, as FileTree::Place::path
  std::optional<std::uint32_t> terminal; // which stream is one
};

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
