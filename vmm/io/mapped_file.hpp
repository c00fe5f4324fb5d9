// SPDX-License-Identifier: MIT
// A whole regular file, read where it lies in the page cache: only what is looked at costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/io/mapping_guard.hpp"

namespace vmm {

class MappedFile {
 public:
  // Regular files of at most `limit_bytes` and at least one; user error otherwise.
  [[nodiscard]] static Result<MappedFile> open(const std::string& path, std::uint64_t limit_bytes);

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {mapping_.get(), mapping_.get_deleter().bytes};
  }
  // The file was made shorter since, and something of what is gone was read, as zeroes.
  [[nodiscard]] bool torn() const { return guard_->torn(); }

  // It will be read from front to end.
  void expect_one_pass() const;
  // Lets go of the first pages of it, whole ones; they come back when they are read again.
  void release(std::size_t bytes) const;

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(std::byte* address) const;
  };
  explicit MappedFile(std::byte* mapping, std::size_t bytes);

  std::unique_ptr<std::byte, Unmap> mapping_;
  std::unique_ptr<MappingGuard> guard_; // of mapping_
};

} // namespace vmm
