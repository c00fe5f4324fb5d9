// SPDX-License-Identifier: MIT
// replay: does to the page allocator what a recorded program did to Linux's, spread over all vCPUs,
// so a block may be freed on another vCPU than it was allocated on. Every page is stamped when it
// is allocated and checked before it is freed. The host has validated the trace before the guest
// sees it (vmm/trace_input.hpp), so a bad event here is a broken invariant.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/mm/fair_lock.hpp"
#include "guest/pattern.hpp"
#include "guest/workload.hpp"
#include "shared/page_trace.hpp"

namespace guest {
namespace {

// Below this a sleep costs more than it saves: an exit and a wake-up take about 50 us.
constexpr std::uint64_t spin_below_ns = 50'000;

// Block id to address and order, for all vCPUs. Grows by chunks as ids appear (they are given in
// order), so that the table itself is small beside what is replayed and no part of it is live but
// untouched.
class BlockTable {
 public:
  BlockTable(Env& env, std::uint64_t ids)
      : env_(env), chunk_count_((ids + ids_per_chunk - 1) / ids_per_chunk),
        chunks_(new std::atomic<Entry*>[chunk_count_]()) {}
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;
  ~BlockTable() {
    for (std::uint64_t chunk = 0; chunk < chunk_count_; ++chunk) {
      if (Entry* const entries = chunks_[chunk].load(); entries != nullptr) {
        env_.free_pages(entries, chunk_order);
      }
    }
    delete[] chunks_;
  }

  void set(std::uint64_t id, const void* block, abi::Order order) {
    const std::uint64_t pfn = abi::to_pfn(arch::address_of(block)).value;
    chunk_of(id)[id % ids_per_chunk].store(
        static_cast<std::uint32_t>(pfn << order_bits | order.value), std::memory_order_release);
  }

  struct Block {
    void* address;
    abi::Order order;
  };
  // The block of an id whose allocation is an earlier event. Another vCPU may still be at it; it
  // never waits for this one, because vCPUs take events in order.
  [[nodiscard]] Block wait_for(std::uint64_t id) {
    std::atomic<std::uint32_t>& entry = chunk_of(id)[id % ids_per_chunk];
    std::uint32_t bits = entry.load(std::memory_order_acquire);
    while (bits == 0) {
      env_.relax();
      bits = entry.load(std::memory_order_acquire);
    }
    return {arch::pointer_to<void>(abi::to_gpa({bits >> order_bits})),
            {static_cast<std::uint8_t>(bits & ((1U << order_bits) - 1))}};
  }

 private:
  // Zero until set: page 0 is never handed out. 28 bits of page frame number reach 1 TiB.
  using Entry = std::atomic<std::uint32_t>;
  static constexpr unsigned order_bits = 4;
  static constexpr abi::Order chunk_order{2};
  static constexpr std::uint64_t ids_per_chunk = chunk_order.bytes() / sizeof(Entry);

  Entry* chunk_of(std::uint64_t id) {
    std::atomic<Entry*>& chunk = chunks_[id / ids_per_chunk];
    Entry* entries = chunk.load(std::memory_order_acquire);
    if (entries == nullptr) {
      void* const fresh = env_.allocate_pages(chunk_order);
      if (fresh == nullptr) {
        env_.usage_error("out of memory for the table of blocks: give the guest more --mem");
      }
      std::memset(fresh, 0, chunk_order.bytes());
      if (chunk.compare_exchange_strong(entries, static_cast<Entry*>(fresh))) {
        entries = static_cast<Entry*>(fresh);
      } else {
        env_.free_pages(fresh, chunk_order); // another vCPU was faster
      }
    }
    return entries;
  }

  Env& env_;
  std::uint64_t chunk_count_;
  std::atomic<Entry*>* chunks_;
};

// Hands events to vCPUs in small runs, in order, with the time at which each run is due.
class EventFeed {
 public:
  static constexpr std::uint64_t run_length = 8;

  EventFeed(std::span<const std::byte> input, std::uint64_t start_ns)
      : body_(input.subspan(sizeof(abi::PageTraceHeader))), due_ns_(start_ns) {}

  [[nodiscard]] std::uint64_t count() const { return body_.size() / sizeof(abi::PageTraceEvent); }
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
    const mm::FairGuard guard(lock_);
    Run run{next_, std::min(next_ + run_length, count()), due_ns_};
    for (; next_ < run.end; ++next_) {
      due_ns_ += std::uint64_t{event(next_).delta_us()} * 1000;
    }
    return run;
  }

 private:
  std::span<const std::byte> body_;
  mm::FairLock lock_;
  std::uint64_t next_ = 0; // guarded by lock_
  std::uint64_t due_ns_;   // guarded by lock_
};

enum class Speed : std::uint8_t { max, real };

// Waits until the event's recorded time has come.
void pace(Env& env, std::uint64_t due_ns) {
  const std::uint64_t now = env.now_ns();
  if (now >= due_ns) {
    return;
  }
  if (due_ns - now >= spin_below_ns) {
    env.sleep_until_ns(due_ns);
  }
  while (env.now_ns() < due_ns) {
    arch::pause();
  }
}

void replay_on_one_vcpu(Env& env, EventFeed& feed, BlockTable& table, const Pattern& pattern,
                        Speed speed) {
  for (EventFeed::Run run = feed.take(); run.first != run.end; run = feed.take()) {
    std::uint64_t due_ns = run.start_ns;
    for (std::uint64_t index = run.first; index < run.end; ++index) {
      const abi::PageTraceEvent event = feed.event(index);
      if (speed == Speed::real) {
        due_ns += std::uint64_t{event.delta_us()} * 1000;
        pace(env, due_ns);
      }
      if (event.is_free()) {
        const BlockTable::Block block = table.wait_for(event.block_id());
        pattern.check(env, block.address, block.order, event.block_id());
        env.free_pages(block.address, block.order);
      } else {
        void* const block = env.allocate_pages(event.order());
        if (block == nullptr) {
          env.usage_error("out of memory at event {} of {}: the trace needs more --mem", index,
                          feed.count());
        }
        pattern.stamp(block, event.order(), event.block_id());
        table.set(event.block_id(), block, event.order());
      }
      env.count_events(1);
    }
  }
}

int run_replay(Env& env) {
  const std::string_view speed = env.arg("speed", "max");
  if (speed != "max" && speed != "real") {
    env.usage_error("speed={} is unknown: use max or real", speed);
  }
  const std::span<const std::byte> input = env.input();
  if (input.size() < sizeof(abi::PageTraceHeader)) {
    env.usage_error("replay needs a page trace: give one with --input FILE");
  }
  const Pattern pattern(env);
  EventFeed feed(input, env.now_ns());
  env.set_events_total(feed.count());
  BlockTable table(env, feed.count());
  env.run_on_all([&](unsigned) {
    replay_on_one_vcpu(env, feed, table, pattern, speed == "real" ? Speed::real : Speed::max);
  });
  return 0;
}

} // namespace

EBB_WORKLOAD(replay,
             "replay the page trace given with --input on all vCPUs; speed=max|real, "
             "fill=edges|full",
             run_replay);

} // namespace guest
