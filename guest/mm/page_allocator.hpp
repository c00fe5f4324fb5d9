// SPDX-License-Identifier: MIT
// The page allocator that a kernel uses: per-vCPU caches in front of a Buddy, with a Reporter that
// hands what is free to the host. One instance serves all vCPUs.
//
// clang-format off
//   allocate/free --> PageCache (own lock, orders 0...3, about 10 ns on a hit)
//                        | bulk refill and drain
//                        v
//                     Buddy + Reporter (one lock) --> channels --> host
// clang-format on
//
// Safe points: every slow path first takes in the answers to all batches, whoever submitted, and
// looks whether the host wants another policy. So a vCPU that computes and never comes back strands
// nothing.
//
// Each vCPU passes its own number; no two threads use one number at the same time. Lock order:
// plug lock or mover lock, then the allocator's lock; a cache's lock is never held together with
// another. The doorbell rings and the host maps memory with the allocator's lock released.
//
// Waiting: for a lock a vCPU spins for a bounded time and then naps (Backoff). For memory that is
// with the host, and when quiescing, it sleeps: it notes in sleepers_ that it waits, arms its
// channel's interrupt, both under the lock and after a last look, and halts. Whoever brings memory
// back, by an answer or a free, wakes the sleepers; the host's interrupt does so for answers of the
// sleeper's own channel. While somebody sleeps, frees go past the caches, to where it finds them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/mm/backoff.hpp"
#include "guest/mm/buddy/allocation.hpp"
#include "guest/mm/buddy/buddy.hpp"
#include "guest/mm/buddy/compactor.hpp"
#include "guest/mm/buddy/frame_hole.hpp"
#include "guest/mm/fair_lock.hpp"
#include "guest/mm/page_cache.hpp"
#include "guest/mm/page_platform.hpp"
#include "guest/mm/reporting/control_watcher.hpp"
#include "guest/mm/reporting/event_writer.hpp"
#include "guest/mm/reporting/report_settings.hpp"
#include "guest/mm/reporting/reporter.hpp"
#include "shared/address.hpp"
#include "shared/boot_info.hpp"
#include "shared/guest_status.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace guest::mm {

struct PageAllocatorConfig {
  abi::Pfn first; // managed frames are [first, end)
  abi::Pfn end;
  abi::Pfn plugged_end;          // mapped now; at or above end when there is nothing to plug
  std::uint64_t plug_frames = 0; // unit of PagePlatform::plug
  FrameHole hole{};              // not RAM; plug units inside it are skipped
  abi::ReportPolicy policy;
  // An answer that takes longer puts its batch into quarantine; 0: never times out.
  std::uint64_t timeout_ns = 0;
  // What the host wants changed while the guest runs; null when it cannot.
  const abi::ReportControl* control = nullptr;
  DiscardedContent discarded = DiscardedContent::zero;
  // Longest wait of an allocation for the host's answers; timeout_ns, if that is longer.
  std::uint64_t oom_timeout_ns = 10'000'000'000;
  // Blocks of at least this order, if they were discarded, come with memory behind them. Smaller
  // ones come by the caches, where nobody knows yet whether they will be touched; none: never.
  std::optional<abi::Order> prefault{};
  EventWriter events{}; // off unless given
};

enum class QuiesceResult : std::uint8_t { settled, timed_out };

class PageAllocator {
 public:
  static constexpr std::uint64_t never = Reporter::never;

  // One channel per vCPU, at most EBB_MAX_VCPUS. `metadata` as for Buddy. Everything passed in
  // outlives the allocator.
  PageAllocator(PagePlatform& platform, const PageAllocatorConfig& config,
                std::span<std::byte> metadata, std::span<abi::Channel* const> channels,
                abi::GuestStatus& status);
  PageAllocator(const PageAllocator&) = delete;
  PageAllocator& operator=(const PageAllocator&) = delete;

  // A block of 2^order frames, order at most max_order, aligned to its size. When memory has run
  // out while ranges are with the host, waits for them: until all are answered or overdue, at most
  // for the configured timeout since it asked or since the last submission, if that was earlier.
  [[nodiscard]] Allocation allocate(unsigned vcpu, abi::Order order);

  // Gives a block back, on any vCPU. Never waits for the host. With the strategy `each`, and while
  // somebody waits for memory, it goes past the cache. Catches double and wild frees, except two of
  // the same block on two vCPUs at the very same moment.
  [[nodiscard]] FreeResult free(unsigned vcpu, abi::Pfn pfn, abi::Order order);

  // Order of the allocated block that starts at this frame, if one does.
  [[nodiscard]] std::optional<abi::Order> allocated_order(abi::Pfn pfn) const;

  // That very block of 2^order frames, aligned to its size. Out of memory when any of it is in use;
  // what only caches or the host hold is waited for as in allocate().
  [[nodiscard]] Allocation allocate_at(unsigned vcpu, abi::Pfn block, abi::Order order);
  // Where at least so many frames in a row are free, a multiple of the largest block; another vCPU
  // may be faster. Empties the caches if there is no such place otherwise.
  [[nodiscard]] std::optional<abi::Pfn> find_run(unsigned vcpu, std::uint64_t frames);
  // An allocated block of an order above 0 becomes two allocated ones of half its size. For its
  // owner.
  void split(abi::Pfn block, abi::Order order) { buddy_.split_owned(block, order); }

  // Lets an allocated block be moved, until it is freed or the mover goes. For its owner,
  // before anybody else may free it; move() may come at once.
  void make_movable(abi::Pfn pfn, abi::Order order, std::uint32_t cookie) {
    buddy_.make_movable(pfn, order, cookie);
  }
  // Who owns the movable blocks; null: nobody. When it returns, the one before is not called any
  // more.
  void set_mover(BlockMover* mover);

  // For a vCPU that has nothing to do: empties its cache, takes in answers, moves what may be
  // moved, reports what is due. Returns the time at which it should be called again (clock of
  // PagePlatform), or never. An answer to a batch of its own channel may come earlier:
  // arm_interrupt(). Answers to others' batches are taken in by whoever needs memory, or at the
  // latest when they are overdue.
  [[nodiscard]] std::uint64_t idle(unsigned vcpu);

  // Around a sleep that an interrupt ends: asks for one at the channel's next answer. Returns
  // false when there is an answer already: call idle() instead of sleeping.
  [[nodiscard]] bool arm_interrupt(unsigned vcpu);
  void disarm_interrupt(unsigned vcpu);

  // Empties all caches, moves what may be moved, reports everything reportable and waits until
  // `deadline_ns` for all answers. Settled if nothing is awaited and nothing reportable is left;
  // what is in quarantine is not waited for. Times out at once when quarantined batches block the
  // vCPU's channel.
  [[nodiscard]] QuiesceResult quiesce(unsigned vcpu, std::uint64_t deadline_ns);

  // The clock of its deadlines: the platform's.
  [[nodiscard]] std::uint64_t now_ns() { return platform_.now_ns(); }

  // Changes the policy while everything runs. What is in flight stays there.
  void retune(const ReportSettings& settings);

  // Time of the latest free that reached the Buddy; 0 before the first.
  [[nodiscard]] std::uint64_t last_buddy_free_ns() const;
  [[nodiscard]] ReporterCounters reporter_counters();
  [[nodiscard]] ChannelCounters channel_counters(unsigned channel);

  // For EventWriter::set_caller().
  [[nodiscard]] EventWriter& events() { return events_; }

  // Unlocked view, for tags_gpa at boot and for tests of a quiet allocator.
  [[nodiscard]] const Buddy& buddy() const { return buddy_; }

 private:
  using Guard = FairGuard<Backoff>;
  using Lease = FairLease<Backoff>;

  struct alignas(64) VcpuCache {
    FairLock lock;
    PageCache cache;
    std::int64_t untold_live_frames = 0; // of its vCPU alone: not in live_frames_ yet
    // Guarded by lock_: frames in the cache as its vCPU found them when it last had that lock. A
    // cache changes at each operation of its vCPU; to look at all would fetch a line from each.
    std::uint64_t noted_frames = 0;
  };

  [[nodiscard]] Backoff backoff() { return Backoff(platform_); }

  [[nodiscard]] FreeResult free_uncached(unsigned vcpu, abi::Pfn pfn, abi::Order order);
  FreeResult drain_and_free(unsigned vcpu, abi::Pfn pfn, abi::Order order);
  [[nodiscard]] Allocation allocate_slow(unsigned vcpu, abi::Order order);
  // Where a block is to be; anywhere if that is empty.
  using Place = std::optional<abi::Pfn>;
  [[nodiscard]] BuddyAllocation allocate_one(unsigned vcpu, abi::Order order, Place place = {});
  [[nodiscard]] BuddyAllocation allocate_and_refill(unsigned vcpu, abi::Order order);
  [[nodiscard]] BuddyAllocation allocate_under_pressure(unsigned vcpu, abi::Order order,
                                                        Place place = {});
  [[nodiscard]] std::uint64_t give_up_at_locked(std::uint64_t start_ns) const;
  [[nodiscard]] bool plug_more(abi::Pfn seen_end);

  // What to do with memory that has come back.
  enum class AfterFree : std::uint8_t { report, keep };
  void give_back(unsigned vcpu, std::span<const PageCache::Block> blocks, AfterFree after);
  void give_back_locked(unsigned vcpu, const PageCache::Block& block);
  [[nodiscard]] BuddyAllocation take_locked(unsigned vcpu, abi::Order order, Place place = {});
  [[nodiscard]] Allocation handed_out(unsigned vcpu, const BuddyAllocation& got, abi::Order order);
  void make_room_for_events(unsigned vcpu);
  void flush_cache(unsigned owner, unsigned vcpu, AfterFree after);
  void flush_all_caches(unsigned vcpu, AfterFree after);
  enum class Compaction : std::uint8_t { done, interrupted };
  [[nodiscard]] Compaction compact(unsigned vcpu);
  [[nodiscard]] std::optional<PlannedMove> plan_move(unsigned vcpu);
  void finish_move(unsigned vcpu, const PlannedMove& move, Compactor::Outcome outcome);
  void after_free_locked(unsigned vcpu, Lease& lease);
  enum class Freed : std::uint8_t { nothing, something };
  std::uint64_t safe_point(unsigned vcpu, Lease& lease, Freed freed = Freed::nothing);
  enum class Sleeper : std::uint8_t { asleep, awake };
  void note_sleeper_locked(unsigned vcpu, Sleeper sleeper);
  void wake_sleepers(Lease& lease);
  void choose_way_of_frees_locked();
  // Until memory may have come back, at the latest until `deadline_ns`. The lock is held before and
  // afterwards; what the caller saw under it still holds when the sleep begins.
  void sleep_for_memory(unsigned vcpu, Lease& lease, std::uint64_t deadline_ns);
  void retune_locked(const ReportSettings& settings, std::uint64_t now_ns);
  [[nodiscard]] SubmitResult report_locked(unsigned vcpu, Lease& lease, Urgency urgency,
                                           std::uint64_t now_ns);
  // That a vCPU's cache has so many frames.
  void note_cached_locked(unsigned owner, std::uint64_t frames);
  void publish_use_locked();
  void publish_locked();

  void count_allocated(unsigned vcpu, abi::Order order);
  void count_freed(unsigned vcpu, abi::Order order);
  void count_live(unsigned vcpu, std::int64_t frames);

  PagePlatform& platform_;
  abi::GuestStatus& status_;
  std::uint64_t plug_frames_;
  std::uint64_t oom_timeout_ns_;
  std::optional<abi::Order> prefault_;
  // With the strategy `each`, and while somebody waits for memory, there is no cache in front of
  // frees.
  std::atomic<bool> frees_are_cached_{true};
  FairLock plug_lock_;
  FairLock mover_lock_;
  BlockMover* mover_ = nullptr; // guarded by mover_lock_, also while it is at work
  // Guards events_, buddy_, compactor_, reporter_, control_, the oom_ counters, sleepers_, the
  // writer side of status_.
  FairLock lock_;
  EventWriter events_;
  Buddy buddy_;
  Compactor compactor_{buddy_};
  Reporter reporter_;
  ControlWatcher control_;
  // What every slow path writes is together: each line of it moves to the next vCPU that takes the
  // lock (make sharing).
  std::uint32_t sleepers_ = 0; // bit per vCPU that sleeps until memory comes back
  // vCPUs that are carrying blocks between a cache and the Buddy. Raised before the blocks leave
  // the one, lowered when they are in the other.
  std::atomic<std::uint32_t> carrying_{0};
  std::atomic<std::int64_t> live_frames_{0}; // allocated, but for what vCPUs have not told yet
  alignas(8) mutable std::uint64_t last_buddy_free_ns_ = 0;
  // In all caches: the sum of VcpuCache::noted_frames.
  std::uint64_t cached_frames_ = 0;
  std::uint64_t oom_waits_ = 0;
  std::uint64_t oom_failures_ = 0;
  std::array<VcpuCache, EBB_MAX_VCPUS> caches_;
};

} // namespace guest::mm
