// SPDX-License-Identifier: MIT
// What the page allocator does for a vCPU that has time: moving blocks, reporting while idle,
// quiescing.
#include "guest/mm/page_allocator.hpp"
#include "guest/mm/status_field.hpp"

namespace guest::mm {

namespace {

// Blocks that an idle vCPU moves before it looks at the time: about 0.1 ms.
constexpr unsigned max_moves_per_call = 32;

} // namespace

// ---- moving ------------------------------------------------------------------------------------

void PageAllocator::set_mover(BlockMover* mover) {
  const Guard guard(mover_lock_, backoff());
  mover_ = mover;
}

// A few moves. One vCPU at a time: whoever finds another at it has better things to do.
PageAllocator::Compaction PageAllocator::compact(unsigned vcpu) {
  if (!mover_lock_.try_lock()) {
    return Compaction::done;
  }
  auto result = Compaction::done;
  if (mover_ != nullptr) {
    for (unsigned moves = 0; const std::optional<PlannedMove> move = plan_move(vcpu);) {
      const bool moved = mover_->move(move->cookie, move->from, move->to.pfn, move->order);
      finish_move(vcpu, *move, moved ? Compactor::Outcome::moved : Compactor::Outcome::refused);
      if (++moves == max_moves_per_call) {
        result = Compaction::interrupted;
        break;
      }
    }
  }
  mover_lock_.unlock();
  return result;
}

std::optional<PlannedMove> PageAllocator::plan_move(unsigned vcpu) {
  const Guard guard(lock_, backoff());
  const std::optional<PlannedMove> move = compactor_.plan_locked();
  if (move) {
    events_.allocated(vcpu, move->to.pfn, move->order, move->to.was.reused_frames);
    carrying_.fetch_add(1, std::memory_order_relaxed);
  }
  return move;
}

void PageAllocator::finish_move(unsigned vcpu, const PlannedMove& move,
                                Compactor::Outcome outcome) {
  const Guard guard(lock_, backoff());
  compactor_.finish_locked(move, outcome);
  if (outcome == Compactor::Outcome::moved) {
    events_.freed(vcpu, move.from, move.order);
    add(status_.vcpu[vcpu].moved_frames, move.order.frames());
  } else if (move.to.content == Content::zeroed) {
    events_.unused(vcpu, move.to.pfn, move.order, move.to.was.reused_frames);
  } else {
    events_.freed(vcpu, move.to.pfn, move.order);
  }
  carrying_.fetch_sub(1, std::memory_order_release);
}

// ---- idle and quiesce --------------------------------------------------------------------------

std::uint64_t PageAllocator::idle(unsigned vcpu) {
  flush_cache(vcpu, vcpu, AfterFree::report);
  const Compaction compaction = compact(vcpu);
  make_room_for_events(vcpu);
  Lease lease(lock_, backoff());
  const std::uint64_t now_ns = safe_point(vcpu, lease);
  static_cast<void>(report_locked(vcpu, lease, Urgency::idle, now_ns));
  publish_locked();
  return compaction == Compaction::interrupted
             ? now_ns
             : reporter_.next_deadline_ns(vcpu, platform_.now_ns());
}

bool PageAllocator::arm_interrupt(unsigned vcpu) {
  const Guard guard(lock_, backoff());
  return reporter_.arm_interrupt_locked(vcpu);
}

void PageAllocator::disarm_interrupt(unsigned vcpu) {
  const Guard guard(lock_, backoff());
  reporter_.disarm_interrupt_locked(vcpu);
}

QuiesceResult PageAllocator::quiesce(unsigned vcpu, std::uint64_t deadline_ns) {
  for (;;) {
    flush_all_caches(vcpu, AfterFree::report);
    const Compaction compaction = compact(vcpu);
    {
      Lease lease(lock_, backoff());
      const std::uint64_t now_ns = safe_point(vcpu, lease);
      const SubmitResult result = report_locked(vcpu, lease, Urgency::now, now_ns);
      publish_locked();
      if (compaction == Compaction::done && result == SubmitResult::nothing &&
          reporter_.awaited_batches() == 0) {
        return QuiesceResult::settled;
      }
      if (result == SubmitResult::busy && reporter_.awaited_batches(vcpu) == 0) {
        return QuiesceResult::timed_out;
      }
      if (platform_.now_ns() >= deadline_ns) {
        return QuiesceResult::timed_out;
      }
      const bool more_to_do =
          compaction == Compaction::interrupted || result == SubmitResult::submitted;
      if (!more_to_do && reporter_.awaited_batches() != 0) {
        sleep_for_memory(vcpu, lease, deadline_ns);
      }
    }
  }
}

} // namespace guest::mm
