// SPDX-License-Identifier: MIT
// What new pages of an area hold when they are not zero: a part of a file. The memory of a program
// knows files by numbers only.
#pragma once

#include <cstdint>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/resolution.hpp"
#include "shared/address.hpp"

namespace guest::linux {

struct Content {
  // Frames of the memory's own with what was in the file, or the file's own frames: what is written
  // there is written to the file. Or copies that nobody may write to, because it would be that.
  enum class Sharing : std::uint8_t { copied, shared, read_only };

  static constexpr std::uint32_t zero = 0; // of no file
  std::uint32_t file = zero;
  std::uint64_t offset = 0; // in bytes, a multiple of a page; of the first page
  Sharing sharing = Sharing::copied;
  // Little of it will ever be touched, a stack, say: so a touch brings little. Without a file.
  bool is_sparse = false;
  [[nodiscard]] bool is_zero() const { return file == zero; }
  [[nodiscard]] bool is_shared() const { return sharing == Sharing::shared; }
  // The same file, so many bytes further on.
  [[nodiscard]] Content at(std::uint64_t bytes) const {
    return is_zero() ? *this : Content{file, offset + bytes, sharing};
  }
  friend bool operator==(const Content&, const Content&) = default;
};

class PageContents {
 public:
  // Puts what is at `from` into frames that read as zero. Bytes that the file had there.
  [[nodiscard]] virtual Or<std::uint64_t> load(const Content& from, abi::Pfn first,
                                               std::uint64_t count) = 0;
  // The file's own frame at `from`, which is shared. Access::write: it is going to be written to.
  // EFAULT: there is nothing to show; ENOMEM.
  struct Shown {
    abi::Pfn frame;
    bool may_be_written = false; // without asking again
  };
  [[nodiscard]] virtual Or<Shown> show(const Content& from, Access access) = 0;
  // No memory shows that file any more.
  virtual void forget(std::uint32_t file) = 0;

 protected:
  PageContents() = default;
  ~PageContents() = default;
};

} // namespace guest::linux
