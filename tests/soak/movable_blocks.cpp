// SPDX-License-Identifier: MIT
#include "tests/soak/movable_blocks.hpp"

#include <cassert>
#include <cstring>

namespace soak {

MovableBlocks::MovableBlocks(const vmm::GuestMemory& memory, std::uint32_t most)
    : memory_(memory), slots_(most) {
  for (std::uint32_t cookie = 0; cookie < most; ++cookie) {
    free_.push_back(cookie);
  }
}

std::uint32_t MovableBlocks::add(abi::Pfn pfn, abi::Order order) {
  std::uint32_t cookie = none;
  {
    const std::scoped_lock lock(mutex_);
    if (free_.empty()) {
      return none;
    }
    cookie = free_.back(); // the latest to go: old moves that still name it must be refused
    free_.pop_back();
  }
  Slot& slot = slots_[cookie];
  const std::scoped_lock lock(slot.mutex);
  assert(!slot.used);
  slot.used = true;
  slot.pfn = pfn;
  slot.order = order;
  return cookie;
}

abi::Pfn MovableBlocks::remove(std::uint32_t cookie) {
  Slot& slot = slots_[cookie];
  abi::Pfn pfn;
  {
    const std::scoped_lock lock(slot.mutex);
    assert(slot.used);
    slot.used = false;
    pfn = slot.pfn;
  }
  const std::scoped_lock lock(mutex_);
  free_.push_back(cookie);
  return pfn;
}

bool MovableBlocks::move(std::uint32_t cookie, abi::Pfn from, abi::Pfn to, abi::Order order) {
  Slot& slot = slots_[cookie];
  const std::unique_lock lock(slot.mutex, std::try_to_lock);
  if (!lock.owns_lock() || !slot.used || slot.pfn != from || slot.order != order) {
    return false;
  }
  std::memcpy(memory_.at(abi::to_gpa(to), order.bytes()).data(),
              memory_.at(abi::to_gpa(from), order.bytes()).data(), order.bytes());
  slot.pfn = to;
  ++moves_;
  return true;
}

} // namespace soak
