// SPDX-License-Identifier: MIT
// The Buddy's memory by address: blocks that must lie in a certain place, and runs of largest
// blocks, which together hold what no single block can.
#include <algorithm>

#include "guest/mm/buddy/buddy.hpp"

namespace guest::mm {

namespace {

constexpr abi::Order largest{abi::max_order};

constexpr abi::Order half_of(abi::Order order) {
  return {static_cast<std::uint8_t>(order.value - 1)};
}

} // namespace

// The free block that all of this one lies in.
std::optional<Buddy::Candidate> Buddy::enclosing(abi::Pfn block, abi::Order order) const {
  for (; order.value <= abi::max_order; ++order.value) {
    const abi::Pfn head{abi::align_down(block.value, order.frames())};
    if (head < tags_.base()) {
      break;
    }
    if (const auto which = free_.find(head, order)) {
      return Candidate{.block = head, .order = order, .which = *which};
    }
  }
  return std::nullopt;
}

// As take(), but which half to descend into is given.
void Buddy::take_at(const Candidate& chosen, abi::Pfn wanted, abi::Order order) {
  auto [block, at, which] = chosen;
  free_.remove(block, at, which);
  if (which == Freshness::fresh && at >= report_order_) {
    reportable_ -= fresh_content(block, at).frames;
  }
  while (at > order) {
    split(block, at);
    at = half_of(at);
    const abi::Pfn right = block + at.frames();
    const abi::Pfn rest = wanted < right ? right : block;
    const Freshness rest_is =
        which == Freshness::answered ? Freshness::answered : freshness(rest, at);
    free_.add(rest, at, rest_is);
    if (rest_is == Freshness::fresh && at >= report_order_) {
      reportable_ += fresh_content(rest, at).frames;
    }
    block = wanted < right ? block : right;
  }
}

BuddyAllocation Buddy::allocate_at(abi::Pfn block, abi::Order order) {
  if (order > largest || block.value % order.frames() != 0 || block < tags_.first() ||
      block >= tags_.end() || tags_.end() - block < order.frames() || hole().contains(block)) {
    return {};
  }
  while (frontier_ < block + order.frames()) {
    if (!carve()) {
      return no_memory();
    }
  }
  const std::optional<Candidate> chosen = enclosing(block, order);
  if (!chosen) {
    return {};
  }
  take_at(*chosen, block, order);
  return hand_out(block, order);
}

std::optional<abi::Pfn> Buddy::find_run(std::uint64_t frames) const {
  const std::uint64_t step = largest.frames();
  const auto is_free = [&](abi::Pfn head) {
    if (tags_.end() - head < step || hole().contains(head)) {
      return false;
    }
    // Above the frontier nothing was handed out; in the block it lies in, something may be.
    return head >= frontier_ || free_.find(head, largest).has_value();
  };
  abi::Pfn start{abi::align_up(tags_.first().value, step)};
  std::uint64_t found = 0;
  for (abi::Pfn head = start; head < tags_.end(); head = head + step) {
    if (!is_free(head)) {
      start = head + step;
      found = 0;
      continue;
    }
    found += step;
    if (found >= frames) {
      return start;
    }
  }
  return std::nullopt;
}

void Buddy::split_owned(abi::Pfn block, abi::Order order) {
  const abi::Order half = half_of(order);
  tags_.put(block, abi::FrameKind::allocated, half);
  tags_.put(block + half.frames(), abi::FrameKind::allocated, half);
}

} // namespace guest::mm
