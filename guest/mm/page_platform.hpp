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
  // A pause in a spin loop, some tens of nanoseconds. May be called with locks held.
  virtual void relax() = 0;
  // Lets the host's CPU go for about `ns`, for a vCPU that waits for another one. May return
  // earlier; may be called with locks held.
  virtual void nap(std::uint64_t ns) = 0;
  // The calling vCPU has spun for so long in one wait.
  virtual void count_spinning(std::uint64_t ns) = 0;
  // The calling vCPU, which is number `vcpu`, sleeps until the clock has reached `deadline_ns`, an
  // interrupt comes that it has armed for its channel, or wake(vcpu) is called. One that came since
  // its last sleep ends this one at once. May return earlier. Called without any lock held.
  virtual void sleep_until(unsigned vcpu, std::uint64_t deadline_ns) = 0;
  // Ends the sleep of a vCPU, or its next one.
  virtual void wake(unsigned vcpu) = 0;

 protected:
  PagePlatform() = default;
  ~PagePlatform() = default;
};

} // namespace guest::mm
