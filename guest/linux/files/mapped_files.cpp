// SPDX-License-Identifier: MIT
#include "guest/linux/files/mapped_files.hpp"

#include <algorithm>

namespace guest::linux {

Content MappedFiles::add(std::shared_ptr<File> file, std::uint64_t offset) {
  auto slot = std::ranges::find(files_, file);
  if (slot == files_.end()) {
    slot = std::ranges::find(files_, nullptr);
  }
  if (slot == files_.end()) {
    slot = files_.insert(files_.end(), nullptr);
  }
  *slot = std::move(file);
  return {static_cast<std::uint32_t>(slot - files_.begin()) + 1, offset};
}

Or<std::uint64_t> MappedFiles::load(const Content& from, abi::Pfn first, std::uint64_t count) {
  auto* const to = reinterpret_cast<std::byte*>(abi::to_gpa(first).value); // NOLINT
  return files_[from.file - 1]->load(from.offset, {to, count * abi::page_bytes});
}

void MappedFiles::forget(std::uint32_t file) {
  files_[file - 1] = nullptr;
}

} // namespace guest::linux
