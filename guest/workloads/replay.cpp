// SPDX-License-Identifier: MIT
// replay: does to the page allocator what a recorded program did to Linux's, spread over all vCPUs,
// so a block may be freed on another vCPU than it was allocated on. Every page is stamped when it
// is allocated and checked before it is freed. Blocks may be moved while a vCPU idles. The host has
// validated the trace before the guest sees it (vmm/boot/recording.hpp), so a bad event here is a
// broken invariant.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/mm/fair_lock.hpp"
#include "guest/pattern.hpp"
#include "guest/workload.hpp"
#include "shared/page_trace.hpp"

namespace guest {
namespace {

// An event may come earlier than recorded by so much: a sleep costs about that, an exit and a
// wake-up, and waiting without one would burn the host's CPU.
constexpr std::uint64_t pace_tolerance_ns = 50'000;

// Block id to address and order, for all vCPUs. All of it is zeroed at the start: no part is live
// but untouched, and it lies together instead of pinning areas here and there.
class BlockTable {
 public:
  BlockTable(Env& env, std::uint64_t ids)
      : env_(env), page_count_((ids + ids_per_page - 1) / ids_per_page),
        pages_(new Entry*[page_count_]) {
    for_each_piece([&](std::uint64_t page, abi::Order order) {
      auto* piece = static_cast<std::byte*>(env_.allocate_pages(order));
      if (piece == nullptr) {
        env_.usage_error("out of memory for the table of blocks: give the guest more --mem");
      }
      std::memset(piece, 0, order.bytes());
      for (std::uint64_t index = 0; index < order.frames(); ++index) {
        pages_[page + index] = reinterpret_cast<Entry*>(piece + index * abi::page_bytes);
      }
    });
  }
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;
  ~BlockTable() {
    for_each_piece(
        [&](std::uint64_t page, abi::Order order) { env_.free_pages(pages_[page], order); });
    delete[] pages_;
  }

  struct Block {
    void* address;
    abi::Order order;
  };

  void set(std::uint64_t id, const Block& block) {
    entry(id).store(packed(block), std::memory_order_release);
  }
  // The block of an id whose allocation is an earlier event, to free it: nobody else gets it
  // any more. Another vCPU may still be allocating or moving it; it never waits for this one,
  // because vCPUs take events in order, and moving waits for nothing.
  [[nodiscard]] Block take(std::uint64_t id) {
    for (mm::Backoff other = env_.backoff();; other()) {
      std::uint32_t bits = entry(id).load(std::memory_order_relaxed);
      if (bits > last_mark && entry(id).compare_exchange_strong(bits, mark_gone)) {
        return {arch::pointer_to<void>(abi::to_gpa({bits >> order_bits})),
                {static_cast<std::uint8_t>(bits & ((1U << order_bits) - 1))}};
      }
    }
  }
  // For who moves it: whether the block is there and nobody has taken it. Then set() must follow.
  [[nodiscard]] bool take_to_move(std::uint64_t id, const Block& block) {
    std::uint32_t bits = packed(block);
    return entry(id).compare_exchange_strong(bits, mark_moving);
  }

 private:
  // A frame number and an order, or a mark; frame 0 is never handed out. 28 bits of frame number
  // reach 1 TiB.
  using Entry = std::atomic<std::uint32_t>;
  static constexpr unsigned order_bits = 4;
  static constexpr std::uint32_t mark_moving = 1;
  static constexpr std::uint32_t mark_gone = 2;
  static constexpr std::uint32_t last_mark = (1U << order_bits) - 1;
  static constexpr std::uint64_t ids_per_page = abi::page_bytes / sizeof(Entry);

  static std::uint32_t packed(const Block& block) {
    const std::uint64_t pfn = abi::to_pfn(arch::address_of(block.address)).value;
    return static_cast<std::uint32_t>(pfn << order_bits | block.order.value);
  }
  Entry& entry(std::uint64_t id) { return pages_[id / ids_per_page][id % ids_per_page]; }

  // The blocks that hold the table's pages, largest first: visit(first page, order).
  template <typename Visit> void for_each_piece(Visit visit) {
    for (std::uint64_t page = 0; page < page_count_;) {
      const unsigned fitting = static_cast<unsigned>(std::bit_width(page_count_ - page)) - 1U;
      const abi::Order piece{
          static_cast<std::uint8_t>(std::min<unsigned>(fitting, abi::max_order))};
      visit(page, piece);
      page += piece.frames();
    }
  }

  Env& env_;
  std::uint64_t page_count_;
  Entry** pages_;
};

// Moves the blocks of the table.
class TableMover final : public mm::BlockMover {
 public:
  TableMover(Env& env, BlockTable& table, const Pattern& pattern)
      : env_(env), table_(table), pattern_(pattern) {}

  bool move(std::uint32_t cookie, abi::Pfn from, abi::Pfn to, abi::Order order) override {
    const BlockTable::Block old_block{arch::pointer_to<void>(abi::to_gpa(from)), order};
    if (!table_.take_to_move(cookie, old_block)) {
      return false;
    }
    const BlockTable::Block new_block{arch::pointer_to<void>(abi::to_gpa(to)), order};
    pattern_.move(env_, old_block.address, new_block.address, order, cookie);
    table_.set(cookie, new_block);
    return true;
  }

 private:
  Env& env_;
  BlockTable& table_;
  const Pattern& pattern_;
};

// Hands events to vCPUs in small runs, in order, with the time at which each run is due.
class EventFeed {
 public:
  static constexpr std::uint64_t run_length = 8;

  EventFeed(const Env& env, std::span<const std::byte> input)
      : env_(env), body_(input.subspan(sizeof(abi::PageTraceHeader))) {}

  // Before the first run is taken.
  void start(std::uint64_t now_ns) { due_ns_ = now_ns; }

  [[nodiscard]] std::uint64_t count() const { return body_.size() / sizeof(abi::PageTraceEvent); }
  // All block ids are below.
  [[nodiscard]] std::uint64_t id_limit() const {
    std::uint64_t limit = 0;
    for (std::uint64_t index = 0; index < count(); ++index) {
      limit = std::max<std::uint64_t>(limit, std::uint64_t{event(index).block_id()} + 1);
    }
    return limit;
  }
  [[nodiscard]] abi::PageTraceEvent event(std::uint64_t index) const {
    abi::PageTraceEvent event;
    std::memcpy(&event, body_.data() + index * sizeof event, sizeof event);
    return event;
  }

  struct Run {
    std::uint64_t first, end; // events [first, end); empty when there are no more
    std::uint64_t start_ns;   // when the event before the first was due
  };
  [[nodiscard]] Run take() {
    const mm::FairGuard guard(lock_, env_.backoff());
    Run run{next_, std::min(next_ + run_length, count()), due_ns_};
    for (; next_ < run.end; ++next_) {
      due_ns_ += std::uint64_t{event(next_).delta_us()} * 1000;
    }
    return run;
  }

 private:
  const Env& env_;
  std::span<const std::byte> body_;
  mm::FairLock lock_;
  std::uint64_t next_ = 0;   // guarded by lock_
  std::uint64_t due_ns_ = 0; // guarded by lock_
};

enum class Speed : std::uint8_t { max, real };
enum class Mobility : std::uint8_t { pinned, movable };
enum class Wanted : std::uint8_t { anything, zeroes };

struct ReplayOptions {
  Speed speed = Speed::max;
  Mobility mobility = Mobility::movable;
  Wanted wanted = Wanted::anything;
  std::uint64_t rest_ns = 0; // idle time behind the last event
};

void* allocate(Env& env, abi::Order order, const Pattern& pattern, Wanted wanted) {
  if (wanted == Wanted::anything) {
    return env.allocate_pages(order);
  }
  void* const block = env.allocate_zeroed_pages(order);
  if (block != nullptr) {
    pattern.check_zero(env, block, order);
  }
  return block;
}

// Sleeps until the event's recorded time has come, or nearly so. Returns how late it is then.
std::uint64_t pace(Env& env, std::uint64_t due_ns) {
  if (due_ns > env.now_ns() + pace_tolerance_ns) {
    env.sleep_until_ns(due_ns);
  }
  const std::uint64_t now_ns = env.now_ns();
  return now_ns > due_ns ? now_ns - due_ns : 0;
}

void replay_on_one_vcpu(Env& env, EventFeed& feed, BlockTable& table, const Pattern& pattern,
                        const ReplayOptions& options) {
  for (EventFeed::Run run = feed.take(); run.first != run.end; run = feed.take()) {
    std::uint64_t due_ns = run.start_ns;
    std::uint64_t behind_ns = 0;
    for (std::uint64_t index = run.first; index < run.end; ++index) {
      const abi::PageTraceEvent event = feed.event(index);
      if (options.speed == Speed::real) {
        due_ns += std::uint64_t{event.delta_us()} * 1000;
        behind_ns = std::max(behind_ns, pace(env, due_ns));
      }
      if (event.is_free()) {
        const BlockTable::Block block = table.take(event.block_id());
        pattern.check(env, block.address, block.order, event.block_id());
        env.free_pages(block.address, block.order);
      } else {
        void* const block = allocate(env, event.order(), pattern, options.wanted);
        if (block == nullptr) {
          env.usage_error("out of memory at event {} of {}: the trace needs more --mem", index,
                          feed.count());
        }
        pattern.stamp(block, event.order(), event.block_id());
        if (options.mobility == Mobility::movable) {
          // Before another vCPU may free it. A move that comes earlier than the entry is refused.
          env.make_movable(block, event.order(), event.block_id());
        }
        table.set(event.block_id(), {block, event.order()});
      }
      env.count_events(1);
    }
    if (options.speed == Speed::real) {
      env.tell_behind_ns(behind_ns);
    }
  }
}

int run_replay(Env& env) {
  const ReplayOptions options{
      .speed = env.arg("speed", "max") == "real" ? Speed::real : Speed::max,
      .mobility = env.arg("movable", "on") == "on" ? Mobility::movable : Mobility::pinned,
      .wanted = env.arg("zero", "off") == "on" ? Wanted::zeroes : Wanted::anything,
      .rest_ns = env.arg_duration_ns("rest", 0)};
  const std::span<const std::byte> input = env.input();
  if (input.size() < sizeof(abi::PageTraceHeader)) {
    env.usage_error("replay needs a page trace: give one with --input FILE");
  }
  const Pattern pattern(env);
  EventFeed feed(env, input);
  env.set_events_total(feed.count());
  BlockTable table(env, feed.id_limit());
  TableMover mover(env, table, pattern);
  const Moving moving(env, mover);
  feed.start(env.now_ns());
  env.run_on_all([&](unsigned) { replay_on_one_vcpu(env, feed, table, pattern, options); });
  env.sleep_until_ns(env.now_ns() + options.rest_ns);
  return 0;
}

} // namespace

EBB_WORKLOAD(replay,
             "replay the page trace given with --input on all vCPUs; speed=max|real, "
             "fill=edges|full, movable=on|off, zero=off|on, rest=TIME (0s) behind the last event",
             run_replay, Parameter::input(), Parameter::choice("speed", "max|real"),
             Parameter::choice("fill", "edges|full"), Parameter::choice("movable", "on|off"),
             Parameter::choice("zero", "on|off"), Parameter::duration("rest"));

} // namespace guest
