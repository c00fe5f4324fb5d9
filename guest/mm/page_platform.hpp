// SPDX-License-Identifier: MIT
// What the page allocator needs from the machine below it.
#pragma once

#include <cstdint>

#include "shared/address.hpp"

namespace guest::mm {

// Every function may be called on any vCPU at any time and must not call the allocator.
class PagePlatform {
 public:
  PagePlatform(const PagePlatform&) = delete;
  PagePlatform& operator=(const PagePlatform&) = delete;

  // Tells the host that the channel has a new batch. Called without any lock held. A synchronous
  // host has answered when it returns.
  virtual void ring_doorbell(unsigned channel) = 0;
  // A monotonic clock.
  [[nodiscard]] virtual std::uint64_t now_ns() = 0;
  // Maps one more unit of RAM, which starts at `next`. Returns whether the host did.
  [[nodiscard]] virtual bool plug(abi::Gpa next) = 0;
  // Asks the host to have memory behind [start, start + bytes) at once. Advice; called without any
  // lock held.
  virtual void prefault(abi::Gpa start, std::uint64_t bytes) = 0;
  // Called repeatedly while a vCPU has to wait for another one or for the host. May be called
  // with locks held.
  virtual void relax() = 0;

 protected:
  PagePlatform() = default;
  ~PagePlatform() = default;
};

} // namespace guest::mm
