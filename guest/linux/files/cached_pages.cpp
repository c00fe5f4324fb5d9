// SPDX-License-Identifier: MIT
#include "guest/linux/files/cached_pages.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace guest::linux {

namespace {

constexpr std::uint64_t bit_of(std::uint64_t page) {
  return std::uint64_t{1} << (page % CachedPages::chunk_pages);
}

} // namespace

std::size_t CachedPages::first_chunk_from(std::uint64_t number) const {
  const auto found = std::ranges::lower_bound(
      chunks_, number, {}, [](const std::unique_ptr<Chunk>& chunk) { return chunk->number; });
  return static_cast<std::size_t>(found - chunks_.begin());
}

CachedPages::Chunk* CachedPages::chunk_of(std::uint64_t page) const {
  const std::uint64_t number = page / chunk_pages;
  if (last_ >= chunks_.size() || chunks_[last_]->number != number) {
    last_ = first_chunk_from(number);
  }
  return last_ < chunks_.size() && chunks_[last_]->number == number ? chunks_[last_].get()
                                                                    : nullptr;
}

std::byte* CachedPages::find(std::uint64_t number) const {
  const Chunk* const chunk = chunk_of(number);
  return chunk == nullptr ? nullptr : chunk->pages[number % chunk_pages];
}

std::byte* CachedPages::find(std::uint64_t number, std::uint64_t now_ns) {
  Chunk* const chunk = chunk_of(number);
  if (chunk == nullptr) {
    return nullptr;
  }
  chunk->used_ns = now_ns;
  return chunk->pages[number % chunk_pages];
}

std::byte* CachedPages::add(std::uint64_t number, std::uint64_t now_ns) {
  assert(number < PageTree::most_pages);
  std::byte* const page = pool_.take();
  if (page == nullptr) {
    return nullptr;
  }
  Chunk* chunk = chunk_of(number);
  if (chunk == nullptr) {
    last_ = first_chunk_from(number / chunk_pages);
    auto made = std::make_unique<Chunk>();
    chunk = made.get();
    chunk->number = number / chunk_pages;
    chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(last_), std::move(made));
  }
  assert(chunk->pages[number % chunk_pages] == nullptr);
  chunk->pages[number % chunk_pages] = page;
  chunk->used_ns = now_ns;
  ++use_.pages;
  return page;
}

// ---- dirty pages -------------------------------------------------------------------------------

void CachedPages::set_dirty(std::uint64_t number) {
  Chunk* const chunk = chunk_of(number);
  assert(chunk != nullptr && chunk->pages[number % chunk_pages] != nullptr);
  if ((chunk->dirty & bit_of(number)) == 0) {
    chunk->dirty |= bit_of(number);
    ++dirty_;
    ++use_.dirty_pages;
  }
}

bool CachedPages::is_dirty(std::uint64_t number) const {
  const Chunk* const chunk = chunk_of(number);
  return chunk != nullptr && (chunk->dirty & bit_of(number)) != 0;
}

void CachedPages::set_clean(PageRange range) {
  for (std::uint64_t page = range.first; page < range.end && dirty_ != 0; ++page) {
    Chunk* const chunk = chunk_of(page);
    if (chunk != nullptr && (chunk->dirty & bit_of(page)) != 0) {
      chunk->dirty &= ~bit_of(page);
      --dirty_;
      --use_.dirty_pages;
    }
  }
}

PageRange CachedPages::first_dirty(PageRange within, std::uint64_t most) const {
  PageRange run;
  for (std::size_t index = dirty_ == 0 ? chunks_.size()
                                       : first_chunk_from(within.first / chunk_pages);
       index < chunks_.size(); ++index) {
    const Chunk& chunk = *chunks_[index];
    const std::uint64_t base = chunk.number * chunk_pages;
    if (base >= within.end || (!run.is_empty() && run.end != base)) {
      break;
    }
    std::uint64_t dirty = chunk.dirty;
    if (within.first > base) {
      dirty &= ~(bit_of(within.first) - 1);
    }
    if (within.end < base + chunk_pages) {
      dirty &= bit_of(within.end) - 1;
    }
    if (run.is_empty()) {
      if (dirty == 0) {
        continue;
      }
      run.first = run.end = base + static_cast<std::uint64_t>(std::countr_zero(dirty));
    }
    const std::uint64_t at = run.end - base;
    const std::uint64_t length = std::min<std::uint64_t>(
        static_cast<std::uint64_t>(std::countr_one(dirty >> at)), most - (run.end - run.first));
    run.end += length;
    if (run.end != base + chunk_pages || run.end - run.first == most) {
      break;
    }
  }
  return run;
}

// ---- giving back -------------------------------------------------------------------------------

void CachedPages::give(Chunk& chunk, std::uint64_t index) {
  if ((chunk.dirty & bit_of(index)) != 0) {
    chunk.dirty &= ~bit_of(index);
    --dirty_;
    --use_.dirty_pages;
  }
  pool_.give(chunk.pages[index]);
  chunk.pages[index] = nullptr;
  --use_.pages;
}

void CachedPages::forget_empty_chunks() {
  std::erase_if(chunks_, [](const std::unique_ptr<Chunk>& chunk) {
    return std::ranges::all_of(chunk->pages, [](const std::byte* page) { return page == nullptr; });
  });
}

void CachedPages::drop(PageRange range) {
  if (range.is_empty()) {
    return;
  }
  bool emptied = false;
  for (std::size_t at = first_chunk_from(range.first / chunk_pages); at < chunks_.size(); ++at) {
    Chunk& chunk = *chunks_[at];
    const std::uint64_t base = chunk.number * chunk_pages;
    if (base >= range.end) {
      break;
    }
    for (std::uint64_t index = 0; index < chunk_pages; ++index) {
      if (chunk.pages[index] != nullptr && base + index >= range.first &&
          base + index < range.end) {
        give(chunk, index);
        emptied = true;
      }
    }
  }
  if (emptied) {
    forget_empty_chunks();
  }
}

void CachedPages::drop_unused(std::uint64_t since_ns) {
  for (const std::unique_ptr<Chunk>& chunk : chunks_) {
    if (chunk->used_ns >= since_ns) {
      continue;
    }
    for (std::uint64_t index = 0; index < chunk_pages; ++index) {
      if (chunk->pages[index] != nullptr && (chunk->dirty & bit_of(index)) == 0 &&
          chunk->pages[index] != use_.held) {
        give(*chunk, index);
      }
    }
  }
  forget_empty_chunks();
}

void CachedPages::list_uses(std::vector<Use>& to) const {
  for (const std::unique_ptr<Chunk>& chunk : chunks_) {
    const auto there =
        std::ranges::count_if(chunk->pages, [](const std::byte* page) { return page != nullptr; });
    to.push_back({chunk->used_ns, static_cast<std::uint64_t>(there) -
                                      static_cast<std::uint64_t>(std::popcount(chunk->dirty))});
  }
}

} // namespace guest::linux
