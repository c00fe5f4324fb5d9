// SPDX-License-Identifier: MIT
// Pages for files in a guest's memory, of which there are only so many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "guest/linux/files/page_tree.hpp"
#include "shared/address.hpp"

namespace test_support {

class CountedPages final : public guest::linux::PagePool {
 public:
  explicit CountedPages(std::uint64_t limit = 1 << 20) : limit_(limit) {}

  [[nodiscard]] std::byte* take() override {
    if (used_ == limit_) {
      return nullptr;
    }
    ++used_;
    auto* const page =
        static_cast<std::byte*>(std::aligned_alloc(abi::page_bytes, abi::page_bytes));
    std::memset(page, 0, abi::page_bytes);
    return page;
  }
  void give(std::byte* page) override {
    --used_;
    std::free(page); // NOLINT(cppcoreguidelines-no-malloc)
  }
  [[nodiscard]] Space space() override { return {limit_, limit_ - used_}; }

  [[nodiscard]] std::uint64_t used() const { return used_; }
  void limit(std::uint64_t pages) { limit_ = pages; }

 private:
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
};

} // namespace test_support
