// SPDX-License-Identifier: MIT
// What the page allocator does when memory has run out: it takes what lies in caches, and sleeps
// for what is with the host.
#include <algorithm>
#include <atomic>
#include <bit>

#include "guest/mm/page_allocator.hpp"
#include "guest/mm/status_field.hpp"

namespace guest::mm {

namespace {

// Looks for blocks that go from one vCPU's cache to another's between our looks into them.
constexpr unsigned max_quiet_attempts = 4;

// Longest sleep of a vCPU that waits for memory beside others: one that computes takes no answers
// in and does not see that its cache is wanted.
constexpr std::uint64_t longest_sleep_beside_others_ns = 10'000'000;

} // namespace

// Everything that is free somewhere else: in caches, and with the host. Nothing is hinted on the
// way, or what the caches give would be isolated before it can be had.
BuddyAllocation PageAllocator::allocate_under_pressure(unsigned vcpu, abi::Order order,
                                                       Place place) {
  const std::uint64_t start_ns = platform_.now_ns();
  Backoff carrier = backoff();
  unsigned quiet_attempts = 0;
  bool waited = false;
  for (;;) {
    flush_all_caches(vcpu, AfterFree::keep);
    {
      Lease lease(lock_, backoff());
      const std::uint64_t now_ns = safe_point(vcpu, lease);
      const BuddyAllocation got = take_locked(vcpu, order, place);
      bool done = got.ok();
      if (!done && reporter_.awaited_batches() != 0) {
        oom_waits_ += waited ? 0 : 1;
        waited = true;
        done = now_ns >= give_up_at_locked(start_ns);
        oom_failures_ += done ? 1 : 0;
      } else if (!done && carrying_.load(std::memory_order_acquire) == 0) {
        done = ++quiet_attempts == max_quiet_attempts;
      }
      if (done && waited) {
        status_.oom_wait.add(now_ns - std::min(start_ns, now_ns));
      }
      publish_locked();
      if (done) {
        return got;
      }
      if (reporter_.awaited_batches() != 0) {
        sleep_for_memory(vcpu, lease, give_up_at_locked(start_ns));
        continue;
      }
    }
    carrier(); // somebody carries blocks, or did at our look into the caches
  }
}

// A batch that the host has not answered for the whole timeout was waited for before.
std::uint64_t PageAllocator::give_up_at_locked(std::uint64_t start_ns) const {
  const std::uint64_t since_ns = std::min(start_ns, reporter_.last_submit_ns());
  const std::uint64_t patience_ns = std::max(oom_timeout_ns_, reporter_.timeout_ns());
  return since_ns < never - patience_ns ? since_ns + patience_ns : never;
}

// ---- sleeping until memory comes back ----------------------------------------------------------

void PageAllocator::note_sleeper_locked(unsigned vcpu, Sleeper sleeper) {
  const std::uint32_t bit = std::uint32_t{1} << vcpu;
  sleepers_ = sleeper == Sleeper::asleep ? sleepers_ | bit : sleepers_ & ~bit;
  choose_way_of_frees_locked();
}

// No wake-up is lost: whoever brings memory back does so under the lock, and sees the sleeper then;
// an answer that comes before the interrupt is armed is seen by arming it; and an interrupt or a
// wake() between here and the halt makes the halt return at once.
void PageAllocator::sleep_for_memory(unsigned vcpu, Lease& lease, std::uint64_t deadline_ns) {
  if (!reporter_.arm_interrupt_locked(vcpu)) {
    return; // an answer is there
  }
  note_sleeper_locked(vcpu, Sleeper::asleep);
  std::uint64_t wake_at_ns = std::min(deadline_ns, reporter_.next_overdue_ns());
  if (reporter_.channel_count() > 1) {
    wake_at_ns = std::min(wake_at_ns, platform_.now_ns() + longest_sleep_beside_others_ns);
  }
  lease.unlock();
  platform_.sleep_until(vcpu, wake_at_ns);
  lease.lock();
  note_sleeper_locked(vcpu, Sleeper::awake);
  reporter_.disarm_interrupt_locked(vcpu);
}

void PageAllocator::wake_sleepers(Lease& lease) {
  std::uint32_t woken = sleepers_;
  sleepers_ = 0;
  choose_way_of_frees_locked();
  lease.unlock();
  for (; woken != 0; woken &= woken - 1) {
    platform_.wake(static_cast<unsigned>(std::countr_zero(woken)));
  }
  lease.lock();
}

} // namespace guest::mm
