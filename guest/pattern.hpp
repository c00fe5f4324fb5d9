// SPDX-License-Identifier: MIT
// Content that proves a block is still its owner's: each page carries words derived from a key and
// the page's own address, so a page that was discarded (zero), handed out twice (another key) or
// mapped elsewhere (another address) is told from a good one.
#pragma once

#include <cstdint>
#include <string_view>

#include "guest/workload.hpp"

namespace guest {

enum class Fill {
  edges, // first and last word of each page: what a page-granular loss needs to be seen
  full,  // every word
};

class Pattern {
 public:
  // Reads the argument fill=edges|full.
  explicit Pattern(const Env& env);
  explicit Pattern(Fill fill) : fill_(fill) {}

  // Writes the pattern of `key` into every page of the block.
  void stamp(void* block, abi::Order order, std::uint64_t key) const;
  // Checks every page against the pattern and counts it. Prints the first bad address and ends
  // the guest with exit status 1 when a page does not hold it.
  void check(Env& env, const void* block, abi::Order order, std::uint64_t key) const;
  // Copies a block that carries the pattern to another place, where it carries it, too. Checks it
  // first, as check() does, but counts nothing.
  void move(Env& env, const void* from, void* to, abi::Order order, std::uint64_t key) const;

  // Checks that every word that stamp() would write is zero. Ends the guest as check() does.
  void check_zero(Env& env, const void* block, abi::Order order) const;

 private:
  void verify(Env& env, const void* block, abi::Order order, std::uint64_t key) const;

  Fill fill_;
};

} // namespace guest
