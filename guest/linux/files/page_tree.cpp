// SPDX-License-Identifier: MIT
#include "guest/linux/files/page_tree.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "shared/address.hpp"

namespace guest::linux {

namespace {
constexpr std::uint64_t fanout = abi::page_bytes / sizeof(std::byte*);
constexpr unsigned fanout_bits = std::countr_zero(fanout);
} // namespace

struct PageTree::Node {
  std::array<std::byte*, fanout> below;

  static Node& of(std::byte* page) { return *reinterpret_cast<Node*>(page); }
};

std::uint64_t PageTree::span_of(unsigned height) {
  return std::uint64_t{1} << (height * fanout_bits);
}

std::byte* PageTree::find(std::uint64_t number) const {
  if (root_ == nullptr || number >= span_of(height_)) {
    return nullptr;
  }
  std::byte* at = root_;
  for (unsigned height = height_; height != 0 && at != nullptr; --height) {
    at = Node::of(at).below[(number / span_of(height - 1)) % fanout];
  }
  return at;
}

// Nodes on the way to a page that cannot be had stay, and go with what is dropped around them.
std::byte* PageTree::make(std::uint64_t number) {
  assert(number < most_pages);
  if (root_ == nullptr && number == 0) { // small files need no nodes
    root_ = pool_.take();
    pages_ += root_ == nullptr ? 0 : 1;
    return root_;
  }
  while (root_ == nullptr || number >= span_of(height_)) {
    std::byte* const node = pool_.take();
    if (node == nullptr) {
      return nullptr;
    }
    if (root_ != nullptr) {
      Node::of(node).below[0] = root_;
    }
    root_ = node;
    ++height_;
  }
  std::byte** at = &root_;
  for (unsigned height = height_; height != 0; --height) {
    at = &Node::of(*at).below[(number / span_of(height - 1)) % fanout];
    if (*at == nullptr) {
      *at = pool_.take();
      if (*at == nullptr) {
        return nullptr;
      }
      pages_ += height == 1 ? 1 : 0;
    }
  }
  return *at;
}

bool PageTree::drop_below(std::byte* node, unsigned height, std::uint64_t base, std::uint64_t first,
                          std::uint64_t end) {
  if (height == 0) {
    pool_.give(node);
    --pages_;
    return true;
  }
  const std::uint64_t span = span_of(height - 1);
  bool empty = true;
  for (std::uint64_t index = 0; index < fanout; ++index) {
    std::byte*& below = Node::of(node).below[index];
    const std::uint64_t start = base + index * span;
    if (below != nullptr && start < end && start + span > first &&
        drop_below(below, height - 1, start, first, end)) {
      below = nullptr;
    }
    empty = empty && below == nullptr;
  }
  if (empty) {
    pool_.give(node);
  }
  return empty;
}

void PageTree::drop(std::uint64_t first, std::uint64_t end) {
  if (root_ != nullptr && first < end && first < span_of(height_) &&
      drop_below(root_, height_, 0, first, end)) {
    root_ = nullptr;
    height_ = 0;
  }
}

} // namespace guest::linux
