// SPDX-License-Identifier: MIT
// Empties 2 MiB areas that a few movable blocks keep from going back to the host: moves these
// blocks into lower areas that are in use anyway. The highest sparse area goes first, and only
// downwards, so moving ends.
//
// Allocates nothing but the new place; the work of a call is bounded by one area. Not thread-safe:
// the `_locked` functions run under the lock that guards the Buddy; the owner copies in between,
// without it.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/mm/buddy/block_mover.hpp"
#include "guest/mm/buddy/buddy.hpp"
#include "shared/address.hpp"

namespace guest::mm {

struct PlannedMove {
  abi::Pfn from;
  abi::Order order;
  std::uint32_t cookie = 0;
  BuddyAllocation to;
};

class Compactor {
 public:
  enum class Outcome : std::uint8_t { moved, refused };

  explicit Compactor(Buddy& buddy) : buddy_(buddy) {}

  // The next block to move, with a place for it; nothing if no sparse area can be emptied now.
  [[nodiscard]] std::optional<PlannedMove> plan_locked();
  // Gives back what is not used any more. An area with a block that was refused is left alone until
  // it changes.
  void finish_locked(const PlannedMove& move, Outcome outcome);

 private:
  [[nodiscard]] std::optional<PlannedMove> first_block(abi::Pfn area) const;

  Buddy& buddy_;
};

} // namespace guest::mm
