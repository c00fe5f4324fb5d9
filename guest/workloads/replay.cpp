// SPDX-License-Identifier: MIT
// replay: does to the page allocator what a recorded program did to Linux's. Every page is stamped
// when it is allocated and checked before it is freed. The host has validated the trace before the
// guest sees it (vmm/trace_input.hpp), so a bad event here is a broken invariant.
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/panic.hpp"
#include "guest/workload.hpp"
#include "guest/pattern.hpp"
#include "shared/page_trace.hpp"

namespace guest {
namespace {

// Below this a sleep costs more than it saves: an exit and a wake-up take about 50 us.
constexpr std::uint64_t spin_below_ns = 50'000;

// Block id to address and order. Grows by chunks as ids appear (they are given in order), so that
// the table itself is small beside what is replayed and no part of it is live but untouched.
class BlockTable {
 public:
  BlockTable(Env& env, std::uint64_t ids)
      : env_(env), chunk_count_((ids + ids_per_chunk - 1) / ids_per_chunk),
        chunks_(new std::uint32_t*[chunk_count_]()) {}
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;
  ~BlockTable() {
    for (std::uint64_t chunk = 0; chunk < chunk_count_; ++chunk) {
      if (chunks_[chunk] != nullptr) {
        env_.free_pages(chunks_[chunk], chunk_order);
      }
    }
    delete[] chunks_;
  }

  void set(std::uint64_t id, const void* block, abi::Order order) {
    std::uint32_t*& chunk = chunks_[id / ids_per_chunk];
    if (chunk == nullptr) {
      chunk = static_cast<std::uint32_t*>(env_.allocate_pages(chunk_order));
      if (chunk == nullptr) {
        env_.usage_error("out of memory for the table of blocks: give the guest more --mem");
      }
    }
    chunk[id % ids_per_chunk] = static_cast<std::uint32_t>(
        abi::to_pfn(arch::address_of(block)).value << order_bits | order.value);
  }
  [[nodiscard]] void* block(std::uint64_t id) const {
    return arch::pointer_to<void>(abi::to_gpa({entry(id) >> order_bits}));
  }
  [[nodiscard]] abi::Order order(std::uint64_t id) const {
    return {static_cast<std::uint8_t>(entry(id) & ((1U << order_bits) - 1))};
  }

 private:
  // 28 bits of page frame number reach 1 TiB.
  static constexpr unsigned order_bits = 4;
  static constexpr abi::Order chunk_order{2};
  static constexpr std::uint64_t ids_per_chunk = chunk_order.bytes() / sizeof(std::uint32_t);

  [[nodiscard]] std::uint32_t entry(std::uint64_t id) const {
    return chunks_[id / ids_per_chunk][id % ids_per_chunk];
  }

  Env& env_;
  std::uint64_t chunk_count_;
  std::uint32_t** chunks_;
};

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

int run_replay(Env& env) {
  const std::string_view speed = env.arg("speed", "max");
  if (speed != "max" && speed != "real") {
    env.usage_error("speed={} is unknown: use max or real", speed);
  }
  const std::span<const std::byte> input = env.input();
  if (input.size() < sizeof(abi::PageTraceHeader)) {
    env.usage_error("replay needs a page trace: give one with --input FILE");
  }
  const std::span<const std::byte> body = input.subspan(sizeof(abi::PageTraceHeader));
  const std::uint64_t events = body.size() / sizeof(abi::PageTraceEvent);
  const Pattern pattern(env);
  env.set_events_total(events);
  BlockTable table(env, events);

  std::uint64_t due_ns = env.now_ns();
  for (std::uint64_t index = 0; index < events; ++index) {
    abi::PageTraceEvent event;
    std::memcpy(&event, body.data() + index * sizeof(abi::PageTraceEvent), sizeof event);
    if (speed == "real") {
      due_ns += std::uint64_t{event.delta_us()} * 1000;
      pace(env, due_ns);
    }
    if (event.is_free()) {
      const abi::Order order = table.order(event.block_id());
      void* const block = table.block(event.block_id());
      pattern.check(env, block, order, event.block_id());
      env.free_pages(block, order);
    } else {
      void* const block = env.allocate_pages(event.order());
      if (block == nullptr) {
        env.usage_error("out of memory at event {} of {}: the trace needs more --mem", index,
                        events);
      }
      pattern.stamp(block, event.order(), event.block_id());
      table.set(event.block_id(), block, event.order());
    }
    env.count_events(1);
  }
  return 0;
}

} // namespace

EBB_WORKLOAD(replay, "replay the page trace given with --input; speed=max|real, fill=edges|full",
             run_replay);

} // namespace guest
