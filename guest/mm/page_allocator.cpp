// SPDX-License-Identifier: MIT
#include "guest/mm/page_allocator.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <span>
#include <utility>

#include "guest/mm/status_field.hpp"

namespace guest::mm {

namespace {

// A free submits at most this many batches, however fast a synchronous host answers.
constexpr unsigned max_batches_per_call = 64;

// Longest wait for the host to take events out of its ring: a thread of a busy host may not
// run for tens of milliseconds.
constexpr std::uint64_t event_patience_ns = 100'000'000;

// Allocated pages of one vCPU that the sum of all does not know of yet, or freed ones.
constexpr std::int64_t most_untold_frames = 16;

} // namespace

PageAllocator::PageAllocator(PagePlatform& platform, const PageAllocatorConfig& config,
                             std::span<std::byte> metadata, std::span<abi::Channel* const> channels,
                             abi::GuestStatus& status)
    : platform_(platform), status_(status), plug_frames_(config.plug_frames),
      oom_timeout_ns_(config.oom_timeout_ns), prefault_(config.prefault), events_(config.events),
      buddy_({.first = config.first,
              .end = config.end,
              .plugged_end = config.plugged_end,
              .discarded = config.discarded,
              .hole = config.hole},
             metadata),
      reporter_(buddy_, channels, {.policy = config.policy, .timeout_ns = config.timeout_ns},
                status.answer_latency, events_.on() ? &events_ : nullptr),
      control_(config.control) {
  choose_way_of_frees_locked();
  if (reporter_.channel_count() == 1) {
    for (FairLock* lock : {&lock_, &mover_lock_, &plug_lock_, &caches_[0].lock}) {
      lock->set_users(FairLock::Users::one);
    }
  }
  publish_locked();
}

// ---- hot paths ---------------------------------------------------------------------------------

// A hit is one uncontended lock, a stack slot, a tag and a counter: about 10 ns.
Allocation PageAllocator::allocate(unsigned vcpu, abi::Order order) {
  if (PageCache::holds(order)) {
    VcpuCache& mine = caches_[vcpu];
    const Guard guard(mine.lock, backoff());
    if (!mine.cache.empty(order)) [[likely]] {
      const PageCache::Block block = mine.cache.pop(buddy_.tags(), order);
      count_allocated(vcpu, order);
      return {.status = AllocateStatus::ok,
              .content = block.untouched_zero ? Content::zeroed : Content::dirty,
              .pfn = block.pfn};
    }
  }
  return allocate_slow(vcpu, order);
}

FreeResult PageAllocator::free(unsigned vcpu, abi::Pfn pfn, abi::Order order) {
  if (!PageCache::holds(order) || !frees_are_cached_.load(std::memory_order_relaxed)) [[unlikely]] {
    return free_uncached(vcpu, pfn, order);
  }
  VcpuCache& mine = caches_[vcpu];
  {
    const Guard guard(mine.lock, backoff());
    const FreeResult result = buddy_.tags().check_owned(pfn, order);
    if (result != FreeResult::ok) [[unlikely]] {
      return result;
    }
    if (!mine.cache.full(order)) [[likely]] {
      mine.cache.push(buddy_.tags(), {.pfn = pfn, .order = order});
      count_freed(vcpu, order);
      return FreeResult::ok;
    }
  }
  return drain_and_free(vcpu, pfn, order);
}

// Gives the older half of a cache's blocks back to the Buddy, before this one is freed. Out of
// line, so that the above stays small.
[[gnu::noinline]] FreeResult PageAllocator::drain_and_free(unsigned vcpu, abi::Pfn pfn,
                                                           abi::Order order) {
  VcpuCache& mine = caches_[vcpu];
  std::array<PageCache::Block, PageCache::max_bulk> drained;
  std::uint32_t count = 0;
  {
    const Guard guard(mine.lock, backoff());
    carrying_.fetch_add(1, std::memory_order_relaxed);
    count = mine.cache.take_oldest(order, std::span(drained).first(PageCache::bulk(order)));
  }
  give_back(vcpu, std::span(drained).first(count), AfterFree::report);
  return free(vcpu, pfn, order);
}

FreeResult PageAllocator::free_uncached(unsigned vcpu, abi::Pfn pfn, abi::Order order) {
  Lease lease(lock_, backoff());
  const FreeResult result = buddy_.free(pfn, order);
  if (result == FreeResult::ok) {
    count_freed(vcpu, order);
    events_.freed(vcpu, pfn, order);
    after_free_locked(vcpu, lease);
  }
  return result;
}

void PageAllocator::count_allocated(unsigned vcpu, abi::Order order) {
  add(status_.vcpu[vcpu].allocated_frames, order.frames());
  count_live(vcpu, static_cast<std::int64_t>(order.frames()));
}

void PageAllocator::count_freed(unsigned vcpu, abi::Order order) {
  add(status_.vcpu[vcpu].freed_frames, order.frames());
  count_live(vcpu, -static_cast<std::int64_t>(order.frames()));
}

// The host samples the counters and would miss a peak between two samples. The sum over all vCPUs
// is shared, so each adds to it only once it has changed by more than a little.
void PageAllocator::count_live(unsigned vcpu, std::int64_t frames) {
  std::int64_t& untold = caches_[vcpu].untold_live_frames;
  untold += frames;
  if (untold < most_untold_frames && untold > -most_untold_frames) [[likely]] {
    return;
  }
  const std::int64_t told = std::exchange(untold, 0);
  const std::int64_t live = live_frames_.fetch_add(told, std::memory_order_relaxed) + told;
  if (live > 0) {
    raise(status_.live_high_bytes, static_cast<std::uint64_t>(live) << abi::page_shift);
  }
}

std::optional<abi::Order> PageAllocator::allocated_order(abi::Pfn pfn) const {
  const FrameTags& tags = buddy_.tags();
  if (pfn < tags.first() || pfn >= tags.end()) {
    return std::nullopt;
  }
  const abi::FrameTag tag = tags.get(pfn);
  const bool owned =
      tag.kind() == abi::FrameKind::allocated || tag.kind() == abi::FrameKind::movable;
  return owned ? std::optional(tag.order()) : std::nullopt;
}

// ---- allocation, slow path ---------------------------------------------------------------------

Allocation PageAllocator::allocate_slow(unsigned vcpu, abi::Order order) {
  if (order.value > abi::max_order) {
    return {};
  }
  const auto allocate = [&] {
    return PageCache::holds(order) ? allocate_and_refill(vcpu, order) : allocate_one(vcpu, order);
  };
  BuddyAllocation got = allocate();
  while (got.status == AllocateStatus::needs_plug && plug_more(got.pfn)) {
    got = allocate();
  }
  if (!got.ok()) {
    got = allocate_under_pressure(vcpu, order);
  }
  return handed_out(vcpu, got, order);
}

// What the caller gets to see.
Allocation PageAllocator::handed_out(unsigned vcpu, const BuddyAllocation& got, abi::Order order) {
  if (!got.ok()) {
    return {.status = AllocateStatus::out_of_memory, .pfn = {}};
  }
  if (prefault_ && order.value >= prefault_->value && got.was.reused_frames != 0) {
    platform_.prefault(abi::to_gpa(got.pfn), order.bytes());
  }
  count_allocated(vcpu, order);
  return {.status = AllocateStatus::ok, .content = got.content, .pfn = got.pfn};
}

Allocation PageAllocator::allocate_at(unsigned vcpu, abi::Pfn block, abi::Order order) {
  BuddyAllocation got = allocate_one(vcpu, order, block);
  while (got.status == AllocateStatus::needs_plug && plug_more(got.pfn)) {
    got = allocate_one(vcpu, order, block);
  }
  if (!got.ok()) {
    got = allocate_under_pressure(vcpu, order, block);
  }
  return handed_out(vcpu, got, order);
}

std::optional<abi::Pfn> PageAllocator::find_run(unsigned vcpu, std::uint64_t frames) {
  const auto look = [&] {
    Lease lease(lock_, backoff());
    static_cast<void>(safe_point(vcpu, lease));
    return buddy_.find_run(frames);
  };
  std::optional<abi::Pfn> found = look();
  if (!found) {
    flush_all_caches(vcpu, AfterFree::keep);
    found = look();
  }
  return found;
}

BuddyAllocation PageAllocator::take_locked(unsigned vcpu, abi::Order order, Place place) {
  const BuddyAllocation got = place ? buddy_.allocate_at(*place, order) : buddy_.allocate(order);
  if (got.ok()) {
    events_.allocated(vcpu, got.pfn, order, got.was.reused_frames);
  }
  return got;
}

// When RAM has to be plugged first, pfn is where the plugged RAM ended.
BuddyAllocation PageAllocator::allocate_one(unsigned vcpu, abi::Order order, Place place) {
  Lease lease(lock_, backoff());
  const std::uint64_t now_ns = safe_point(vcpu, lease);
  BuddyAllocation got = take_locked(vcpu, order, place);
  if (got.status == AllocateStatus::needs_plug) {
    got.pfn = buddy_.plugged_end();
  }
  reporter_.note_time_locked(now_ns);
  publish_use_locked();
  lease.unlock();
  make_room_for_events(vcpu);
  return got;
}

// The same for an order that is cached, and while the lock is held anyway, some for the cache.
BuddyAllocation PageAllocator::allocate_and_refill(unsigned vcpu, abi::Order order) {
  const std::uint32_t wanted = 1 + PageCache::bulk(order);
  std::array<BuddyAllocation, 1 + PageCache::max_bulk> blocks;
  std::uint32_t count = 0;
  {
    Lease lease(lock_, backoff());
    const std::uint64_t now_ns = safe_point(vcpu, lease);
    count = buddy_.allocate_many(order, std::span(blocks).first(wanted));
    reporter_.note_time_locked(now_ns);
    for (const BuddyAllocation& block : std::span(blocks).first(count)) {
      events_.allocated(vcpu, block.pfn, order, block.was.reused_frames);
    }
    if (count == 0 && blocks[0].status == AllocateStatus::needs_plug) {
      blocks[0].pfn = buddy_.plugged_end();
    }
    carrying_.fetch_add(1, std::memory_order_relaxed);
    note_cached_locked(vcpu,
                       caches_[vcpu].cache.frames() + (count > 1 ? count - 1 : 0) * order.frames());
    publish_use_locked();
  }
  if (count > 1) {
    VcpuCache& mine = caches_[vcpu];
    const Guard guard(mine.lock, backoff());
    // Last in, first out: the block that the Buddy liked best goes on top. There is room, because
    // the cache was empty and only its own vCPU adds to it.
    const std::span<const BuddyAllocation> rest = std::span(blocks).first(count).subspan(1);
    for (std::size_t left = rest.size(); left > 0; --left) {
      const BuddyAllocation& block = rest[left - 1];
      mine.cache.push(buddy_.tags(), {.pfn = block.pfn,
                                      .order = order,
                                      .untouched_zero = block.content == Content::zeroed,
                                      .was = block.was});
    }
  }
  carrying_.fetch_sub(1, std::memory_order_release);
  make_room_for_events(vcpu);
  return blocks[0];
}

// Lets the host map more, unless another vCPU has seen to it since. Returns whether to try again.
bool PageAllocator::plug_more(abi::Pfn seen_end) {
  const Guard plug_guard(plug_lock_, backoff());
  {
    const Guard guard(lock_, backoff());
    if (buddy_.plugged_end() != seen_end) {
      return true;
    }
  }
  if (plug_frames_ == 0) {
    return false;
  }
  const abi::Pfn next = buddy_.hole().skip_units(seen_end, plug_frames_);
  if (!platform_.plug(abi::to_gpa(next))) {
    return false;
  }
  const Guard guard(lock_, backoff());
  buddy_.set_plugged_end(next + plug_frames_);
  return true;
}

// ---- free, slow path ---------------------------------------------------------------------------

void PageAllocator::choose_way_of_frees_locked() {
  frees_are_cached_.store(reporter_.strategy() != abi::ReportStrategy::each && sleepers_ == 0,
                          std::memory_order_relaxed);
}

inline void PageAllocator::give_back_locked(unsigned vcpu, const PageCache::Block& block) {
  if (block.untouched_zero) {
    events_.unused(vcpu, block.pfn, block.order, block.was.reused_frames);
    buddy_.free_untouched(block.pfn, block.order, block.was);
  } else {
    buddy_.free_cached(block.pfn, block.order);
    events_.freed(vcpu, block.pfn, block.order);
  }
}

// Takes over one count of carrying_.
void PageAllocator::give_back(unsigned vcpu, std::span<const PageCache::Block> blocks,
                              AfterFree after) {
  {
    Lease lease(lock_, backoff());
    for (const PageCache::Block& block : blocks) {
      give_back_locked(vcpu, block);
    }
    carrying_.fetch_sub(1, std::memory_order_release);
    if (after == AfterFree::report) {
      after_free_locked(vcpu, lease);
    } else if (sleepers_ != 0 && !blocks.empty()) {
      wake_sleepers(lease);
    }
  }
  make_room_for_events(vcpu);
}

// Has the host take events out before some are lost. A host that works on other threads does so a
// little after the doorbell; one that does not in time costs events, which are counted.
void PageAllocator::make_room_for_events(unsigned vcpu) {
  if (!events_.nearly_full()) [[likely]] {
    return;
  }
  platform_.ring_doorbell(vcpu);
  const std::uint64_t start_ns = platform_.now_ns();
  Backoff host = backoff(); // which does not interrupt anybody for this
  while (events_.nearly_full() && platform_.now_ns() - start_ns < event_patience_ns) {
    host();
  }
}

void PageAllocator::after_free_locked(unsigned vcpu, Lease& lease) {
  const std::uint64_t now_ns = safe_point(vcpu, lease, Freed::something);
  publish(last_buddy_free_ns_, now_ns);
  note_cached_locked(vcpu, caches_[vcpu].cache.frames());
  // Busy or not, freeing goes on; what was not sent stays fresh.
  static_cast<void>(report_locked(vcpu, lease, Urgency::busy, now_ns));
  publish_use_locked();
}

// What every slow path does first. Lets others have the lock between two answers, so that it is
// held no longer than one batch takes. Wakes who waits for memory if some has come back, by an
// answer or by what the caller has freed. Returns the time.
//
// Looked at are its own channel, where a host may answer whatever it likes, and those with batches
// at the host: not all, or each operation would cost more with each vCPU there is.
std::uint64_t PageAllocator::safe_point(unsigned vcpu, Lease& lease, Freed freed) {
  const std::uint64_t now_ns = platform_.now_ns();
  bool reporter_changed = false;
  for (std::uint32_t channels = reporter_.channels_at_host() | 1U << vcpu; channels != 0;
       channels &= channels - 1) {
    const auto channel = static_cast<unsigned>(std::countr_zero(channels));
    // Bounded, should the host never stop.
    for (unsigned entry = 0; entry < abi::completion_entries && reporter_.has_answer(channel);
         ++entry) {
      const AnswerKind answer = reporter_.take_answer_locked(channel, now_ns);
      if (answer == AnswerKind::none) {
        break;
      }
      freed = answer == AnswerKind::fits ? Freed::something : freed;
      reporter_changed = true;
      lease.yield();
    }
  }
  reporter_changed |= reporter_.expire_locked(now_ns);
  if (sleepers_ != 0 && freed == Freed::something) [[unlikely]] {
    wake_sleepers(lease);
  }
  if (control_.changed()) [[unlikely]] {
    if (const std::optional<ReportSettings> settings = control_.read()) {
      retune_locked(*settings, now_ns);
      reporter_changed = true;
    }
  }
  if (reporter_changed) [[unlikely]] {
    publish_locked();
  }
  return now_ns;
}

// Submits batches while they are due and the channel takes them; `now_ns` is what safe_point()
// said. Releases the lock to ring.
SubmitResult PageAllocator::report_locked(unsigned vcpu, Lease& lease, Urgency urgency,
                                          std::uint64_t now_ns) {
  for (unsigned batch = 0; batch < max_batches_per_call; ++batch) {
    reporter_.note_time_locked(now_ns);
    if (!reporter_.due_locked(now_ns, urgency)) {
      return SubmitResult::nothing;
    }
    const SubmitResult result = reporter_.submit_locked(vcpu, now_ns, urgency);
    if (result == SubmitResult::busy || result == SubmitResult::nothing) {
      return result;
    }
    publish_locked();
    if (result == SubmitResult::ring_doorbell) {
      lease.unlock();
      platform_.ring_doorbell(vcpu);
      lease.lock();
    } else {
      lease.yield();
    }
    now_ns = safe_point(vcpu, lease);
  }
  return SubmitResult::submitted;
}

void PageAllocator::flush_cache(unsigned owner, unsigned vcpu, AfterFree after) {
  VcpuCache& victim = caches_[owner];
  if (victim.cache.frames() == 0) {
    return;
  }
  std::array<PageCache::Block, PageCache::total_capacity> blocks;
  std::uint32_t count = 0;
  {
    const Guard guard(victim.lock, backoff());
    carrying_.fetch_add(1, std::memory_order_relaxed);
    for (std::uint8_t order = 0; order < PageCache::cached_orders; ++order) {
      count += victim.cache.take_oldest({order}, std::span(blocks).subspan(count));
    }
  }
  give_back(vcpu, std::span(blocks).first(count), after);
}

void PageAllocator::flush_all_caches(unsigned vcpu, AfterFree after) {
  for (unsigned owner = 0; owner < reporter_.channel_count(); ++owner) {
    flush_cache(owner, vcpu, after);
  }
}

// ---- statistics --------------------------------------------------------------------------------

void PageAllocator::note_cached_locked(unsigned owner, std::uint64_t frames) {
  if (std::uint64_t& noted = caches_[owner].noted_frames; noted != frames) {
    cached_frames_ += frames - std::exchange(noted, frames);
  }
}

// What allocations and frees change. Answers, submissions and new settings change more: who has
// seen one publishes all.
void PageAllocator::publish_use_locked() {
  publish(status_.fresh_bytes, buddy_.fresh_frames() * abi::page_bytes);
  publish(status_.reported_bytes, buddy_.answered_frames() * abi::page_bytes);
  publish(status_.cached_bytes, cached_frames_ * abi::page_bytes);
  publish(status_.frontier_gpa, abi::to_gpa(buddy_.frontier()).value);
  publish(status_.reused_bytes, buddy_.reused_frames() * abi::page_bytes);
}

} // namespace guest::mm
