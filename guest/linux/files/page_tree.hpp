// SPDX-License-Identifier: MIT
// Pages by number, with holes: the content of a file in the guest's memory. Nodes are pages, too,
// and both go back to the pool as soon as they hold nothing. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/address.hpp"

namespace guest::linux {

// Where pages come from and go back to.
class PagePool {
 public:
  // Zeroed; null when there is none.
  [[nodiscard]] virtual std::byte* take() = 0;
  virtual void give(std::byte* page) = 0;
  struct Space {
    std::uint64_t all_pages = 0;
    std::uint64_t free_pages = 0;
  };
  [[nodiscard]] virtual Space space() = 0;

 protected:
  PagePool() = default;
  ~PagePool() = default;
};

// What so many bytes take.
[[nodiscard]] constexpr std::uint64_t pages_for(std::uint64_t bytes) {
  return bytes / abi::page_bytes + (bytes % abi::page_bytes != 0 ? 1 : 0);
}

// [first, end), page numbers in a file.
struct PageRange {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool is_empty() const { return first >= end; }
};

class PageTree {
 public:
  // One above the highest number.
  static constexpr std::uint64_t most_pages = std::uint64_t{1} << 36;

  explicit PageTree(PagePool& pool) : pool_(pool) {}
  PageTree(const PageTree&) = delete;
  PageTree& operator=(const PageTree&) = delete;
  ~PageTree() { drop(0, most_pages); }

  // Null: a hole.
  [[nodiscard]] std::byte* find(std::uint64_t number) const;
  // The page, a zeroed one where there was a hole; null when the pool has none.
  [[nodiscard]] std::byte* make(std::uint64_t number);
  // Makes holes of [first, end).
  void drop(std::uint64_t first, std::uint64_t end);

  [[nodiscard]] std::uint64_t pages() const { return pages_; } // without nodes

 private:
  struct Node;
  // Pages below a node of that height; a page itself has 0.
  [[nodiscard]] static std::uint64_t span_of(unsigned height);
  // Whether nothing is left of the node, which is gone then.
  [[nodiscard]] bool drop_below(std::byte* node, unsigned height, std::uint64_t base,
                                std::uint64_t first, std::uint64_t end);

  PagePool& pool_;
  std::byte* root_ = nullptr;
  unsigned height_ = 0;
  std::uint64_t pages_ = 0;
};

inline constexpr PageRange all_pages{0, PageTree::most_pages};

} // namespace guest::linux
