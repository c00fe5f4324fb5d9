// SPDX-License-Identifier: MIT
#include "guest/linux/memory/page_frames.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace guest::linux {

namespace {

constexpr abi::Order largest{abi::max_order};
constexpr std::uint64_t renew_timeout_ns = 1'000'000'000;
// Less than a huge page is cheaper to zero than to have taken away and given again.
constexpr std::uint64_t worth_renewing_frames = abi::huge_page_bytes / abi::page_bytes;

// The largest block that begins at a frame and holds no more than `left`.
abi::Order order_at(abi::Pfn frame, std::uint64_t left) {
  const int aligned = std::countr_zero(frame.value | largest.frames());
  const int fitting = static_cast<int>(std::bit_width(left)) - 1;
  return {static_cast<std::uint8_t>(std::min(aligned, fitting))};
}

} // namespace

bool PageFrames::claim(abi::Pfn first, std::uint64_t count) {
  std::uint64_t done = 0;
  while (done < count) {
    const abi::Pfn frame = first + done;
    const abi::Order order = order_at(frame, count - done);
    const mm::Allocation block = pages_.allocate_at(machine_.vcpu(), frame, order);
    if (!block.ok()) {
      release(first, done);
      return false;
    }
    if (block.content != mm::Content::zeroed) {
      content_.zero(frame, order.frames());
    }
    done += order.frames();
  }
  return true;
}

// One block with its tail given back, or a run of largest blocks.
std::optional<abi::Pfn> PageFrames::allocate(std::uint64_t count) {
  assert(count != 0);
  if (count > largest.frames()) {
    const auto first = pages_.find_run(machine_.vcpu(), count);
    return first && claim(*first, count) ? first : std::nullopt;
  }
  const abi::Order order{static_cast<std::uint8_t>(std::bit_width(count - 1))};
  const mm::Allocation block = pages_.allocate(machine_.vcpu(), order);
  if (!block.ok()) {
    return std::nullopt;
  }
  release(block.pfn + count, order.frames() - count);
  if (block.content != mm::Content::zeroed) {
    content_.zero(block.pfn, count);
  }
  return block.pfn;
}

// Given back, hinted, and taken again when the host has answered: what it has discarded reads as
// zero without anybody touching it.
void PageFrames::renew(abi::Pfn first, std::uint64_t count) {
  if (count < worth_renewing_frames) {
    content_.zero(first, count);
    return;
  }
  release(first, count);
  // If the host takes longer, claiming waits for it.
  static_cast<void>(pages_.quiesce(machine_.vcpu(), pages_.now_ns() + renew_timeout_ns));
  [[maybe_unused]] const bool back = claim(first, count);
  assert(back); // nobody else allocates meanwhile
}

void PageFrames::copy(std::uint64_t to, std::uint64_t from, std::uint64_t count) {
  content_.copy(to, from, count * abi::page_bytes);
}

// What caches hold counts as used, what was never handed out as free.
std::uint64_t PageFrames::free_count() const {
  const mm::Buddy& buddy = pages_.buddy();
  const std::uint64_t known = ram_below(buddy.frontier());
  const std::uint64_t in_use =
      known - buddy.fresh_frames() - buddy.answered_frames() - buddy.isolated_frames();
  return count() - in_use;
}

std::uint64_t PageFrames::count() const {
  return ram_below(pages_.buddy().tags().end());
}

std::uint64_t PageFrames::ram_below(abi::Pfn end) const {
  const mm::Buddy& buddy = pages_.buddy();
  const mm::FrameHole& hole = buddy.hole();
  return (end - buddy.tags().first()) - (end >= hole.end ? hole.end - hole.start : 0);
}

// From the largest order down: whatever block begins at the frame with the most alignment is
// described by its own tag there; if it ends before `frame`, a frame of less alignment behind it
// begins a block of its own, and so on.
PageFrames::Block PageFrames::block_of(abi::Pfn frame) const {
  for (abi::Order order = largest;; --order.value) {
    const abi::Pfn head{abi::align_down(frame.value, order.frames())};
    const auto block_order = pages_.allocated_order(head);
    if (block_order && frame < head + block_order->frames()) {
      return {head, *block_order};
    }
    assert(order.value != 0); // not a program's memory
  }
}

void PageFrames::release(abi::Pfn first, std::uint64_t count) {
  const abi::Pfn end = first + count;
  for (abi::Pfn frame = first; frame < end;) {
    Block block = block_of(frame);
    // Halves that reach beyond the range stay allocated.
    while (block.first < frame || block.end() > end) {
      pages_.split(block.first, block.order);
      --block.order.value;
      if (frame >= block.end()) {
        block.first = block.end();
      }
    }
    [[maybe_unused]] const mm::FreeResult freed =
        pages_.free(machine_.vcpu(), block.first, block.order);
    assert(freed == mm::FreeResult::ok);
    frame = block.end();
  }
}

} // namespace guest::linux
