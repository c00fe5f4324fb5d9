// SPDX-License-Identifier: MIT
// Pages of a file of the host's that the guest keeps for a while: which are there, which of them
// the host has yet to get ("dirty"), and when they were last used. Pure.
//
// Beside what a PageTree knows this is what can be given back, and what cannot; pages that lie
// together are asked for, written and forgotten together, so they are kept by chunks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/files/page_tree.hpp"

namespace guest::linux {

// Of all files together.
struct CacheUse {
  std::uint64_t pages = 0;
  std::uint64_t dirty_pages = 0;
  // One that is being copied to or from: memory that the program touches meanwhile may want to be
  // made room for, and this one is not to go then.
  const std::byte* held = nullptr;
  std::uint64_t now_ns = 0; // about
};

class CachedPages {
 public:
  static constexpr std::uint64_t chunk_pages = 64;

  // Both outlive this.
  CachedPages(PagePool& pool, CacheUse& use) : pool_(pool), use_(use) {}
  CachedPages(const CachedPages&) = delete;
  CachedPages& operator=(const CachedPages&) = delete;
  ~CachedPages() { drop(all_pages); }

  [[nodiscard]] bool has(std::uint64_t number) const { return find(number) != nullptr; }
  // The page, which is used now; null: not there.
  [[nodiscard]] std::byte* find(std::uint64_t number, std::uint64_t now_ns);
  // The same without using it.
  [[nodiscard]] std::byte* find(std::uint64_t number) const;
  // One that was not there, zeroed and clean; null: the pool has none.
  [[nodiscard]] std::byte* add(std::uint64_t number, std::uint64_t now_ns);

  // Of a page that is there.
  void set_dirty(std::uint64_t number);
  void set_clean(PageRange range);
  [[nodiscard]] bool is_dirty() const { return dirty_ != 0; }
  [[nodiscard]] bool is_dirty(std::uint64_t number) const;
  // The first dirty pages in a row within a range, at most `most` of them; empty: there are none.
  [[nodiscard]] PageRange first_dirty(PageRange within, std::uint64_t most) const;

  // Pages go back to the pool: all in a range, dirty or not; or clean ones of chunks that were last
  // used before `since_ns`.
  void drop(PageRange range);
  void drop_unused(std::uint64_t since_ns);
  // Adds when each chunk was last used, and the clean pages in it.
  struct Use {
    std::uint64_t used_ns = 0;
    std::uint64_t clean_pages = 0;
  };
  void list_uses(std::vector<Use>& to) const;

 private:
  struct Chunk {
    std::uint64_t number = 0; // its first page's, divided by chunk_pages
    std::uint64_t used_ns = 0;
    std::uint64_t dirty = 0; // a bit for each page
    std::array<std::byte*, chunk_pages> pages{};
  };

  // The index of the first chunk that is not below a number; chunks_.size(): none.
  [[nodiscard]] std::size_t first_chunk_from(std::uint64_t number) const;
  [[nodiscard]] Chunk* chunk_of(std::uint64_t page) const;
  void give(Chunk& chunk, std::uint64_t index);
  void forget_empty_chunks();

  PagePool& pool_;
  CacheUse& use_;
  std::vector<std::unique_ptr<Chunk>> chunks_; // by number
  std::uint64_t dirty_ = 0;
  mutable std::size_t last_ = 0; // where a chunk was last found
};

} // namespace guest::linux
