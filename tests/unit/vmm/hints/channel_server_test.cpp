// SPDX-License-Identifier: MIT
#include "vmm/hints/channel_server.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/serve_channel.hpp"
#include "vmm/hints/batch_processor.hpp"

using abi::Gpa;
using abi::Order;
using abi::Outcome;
using abi::RangeDescriptor;
using abi::RangeKind;
using test_support::serve;
using vmm::AnswerResult;
using vmm::Backing;
using vmm::ChannelProgress;
using vmm::GuestMemory;

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t ram_bytes = 16 * mib;
constexpr std::uint64_t managed_start = 4 * mib;
constexpr std::uint64_t tags_gpa = 2 * mib;
constexpr std::byte mark{0x5a};

RangeDescriptor hint(std::uint64_t gpa, unsigned order) {
  return RangeDescriptor::make(abi::to_pfn({gpa}), Order{static_cast<std::uint8_t>(order)},
                               RangeKind::hint);
}

RangeDescriptor span(std::uint64_t gpa, unsigned order) {
  return RangeDescriptor::make(abi::to_pfn({gpa}), Order{static_cast<std::uint8_t>(order)},
                               RangeKind::span);
}

GuestMemory marked_memory() {
  auto memory = GuestMemory::create(ram_bytes, Backing::small_pages);
  REQUIRE(memory);
  std::memset(memory->base(), std::to_integer<int>(mark), ram_bytes);
  return std::move(*memory);
}

vmm::DiscardEngine engine_for(const GuestMemory& memory, vmm::DiscardCalls& calls) {
  auto engine = vmm::DiscardEngine::create(memory, {}, calls);
  REQUIRE(engine);
  return std::move(*engine);
}

// A host with one channel and the guest's side of it, driven by hand.
struct Host {
  explicit Host(ChannelProgress progress = {})
      : server(*channel, progress), tail(progress.submit_head), answers(progress.complete_tail) {
    channel->rings.submit_tail = progress.submit_head;
    channel->rings.complete_head = progress.complete_tail;
  }

  // Fills the next slot without telling the host.
  void write_slot(abi::SubmissionEntry entry) {
    channel->rings.submissions[tail % abi::ring_entries] = entry;
    ++tail;
  }
  void publish() { std::atomic_ref(channel->rings.submit_tail).store(tail); }

  void submit(std::uint64_t id, const std::vector<RangeDescriptor>& ranges,
              std::uint32_t page = 0) {
    std::copy(ranges.begin(), ranges.end(), channel->pages[page].ranges);
    write_slot({id, page, static_cast<std::uint32_t>(ranges.size())});
    publish();
  }

  // The oldest answer, consumed.
  abi::CompletionEntry consume() {
    REQUIRE(channel->rings.complete_tail != answers);
    const abi::CompletionEntry entry =
        channel->rings.completions[answers % abi::completion_entries];
    ++answers;
    channel->rings.complete_head = answers;
    return entry;
  }

  [[nodiscard]] bool zero(std::uint64_t from, std::uint64_t to) const {
    return std::all_of(memory.base() + from, memory.base() + to,
                       [](std::byte b) { return b == std::byte{0}; });
  }
  [[nodiscard]] bool kept(std::uint64_t from, std::uint64_t to) const {
    return std::all_of(memory.base() + from, memory.base() + to,
                       [](std::byte b) { return b == mark; });
  }

  GuestMemory memory = marked_memory();
  vmm::SystemDiscardCalls calls;
  vmm::BatchProcessor processor{{Gpa{managed_start}, Gpa{ram_bytes}}, engine_for(memory, calls)};
  std::unique_ptr<abi::Channel> channel = std::make_unique<abi::Channel>();
  vmm::ChannelServer server;
  std::uint32_t tail;
  std::uint32_t answers;
};

bool all_failed(const abi::CompletionEntry& answer) {
  for (std::uint32_t i = 0; i < abi::max_batch_ranges; ++i) {
    if (answer.outcome(i) != Outcome::failed) {
      return false;
    }
  }
  return true;
}

} // namespace

TEST_CASE("a batch is taken, discarded and answered") {
  Host host;
  CHECK(serve(host.server, host.processor) == 0);
  host.submit(77, {hint(6 * mib, 9), hint(0, 0), hint(8 * mib, 0)}, 3);
  CHECK(host.server.has_submissions());
  CHECK(serve(host.server, host.processor) == 1);
  CHECK_FALSE(host.server.has_submissions());
  CHECK(host.channel->rings.submit_head == 1);
  CHECK(host.channel->rings.complete_tail == 1);
  const abi::CompletionEntry answer = host.consume();
  CHECK(answer.batch_id == 77);
  CHECK(answer.page == 3);
  CHECK(answer.range_count == 3);
  CHECK(answer.reserved == 0);
  CHECK(answer.outcome(0) == Outcome::discarded);
  CHECK(answer.outcome(1) == Outcome::failed);
  CHECK(answer.outcome(2) == Outcome::discarded);
  CHECK(host.zero(6 * mib, 8 * mib + 4096));
  CHECK(host.kept(0, 6 * mib));
  CHECK(host.kept(8 * mib + 4096, ram_bytes));
}

TEST_CASE("a full ring of full batches is served in order") {
  Host host;
  std::vector<RangeDescriptor> ranges;
  ranges.reserve(abi::max_batch_ranges);
  for (std::uint64_t i = 0; i < abi::max_batch_ranges; ++i) {
    ranges.push_back(hint(managed_start + 2 * i * abi::page_bytes, 0));
  }
  for (std::uint32_t page = 0; page < abi::ring_entries; ++page) {
    host.submit(page, ranges, page);
  }
  CHECK(serve(host.server, host.processor) == abi::ring_entries);
  for (std::uint32_t page = 0; page < abi::ring_entries; ++page) {
    const abi::CompletionEntry answer = host.consume();
    CHECK(answer.batch_id == page);
    CHECK(answer.page == page);
    for (std::uint32_t i = 0; i < abi::max_batch_ranges; ++i) {
      REQUIRE(answer.outcome(i) == Outcome::discarded);
    }
  }
  CHECK(host.server.counters().batches_answered.value() == abi::ring_entries);
}

TEST_CASE("an unusable submission is answered as failed and touches nothing") {
  constexpr std::uint32_t big = 0xffffffff;
  Host host;
  const std::vector<abi::SubmissionEntry> bad = {
      {1, abi::ring_entries, 1},         {2, big, 1}, {3, 0, 0},
      {4, 0, abi::max_batch_ranges + 1}, {5, 0, big}, {6, big, big},
  };
  host.channel->pages[0].ranges[0] = hint(6 * mib, 9);
  for (const abi::SubmissionEntry& entry : bad) {
    host.write_slot(entry);
    host.publish();
    CHECK(serve(host.server, host.processor) == 1);
    const abi::CompletionEntry answer = host.consume();
    CHECK(answer.batch_id == entry.batch_id);
    CHECK(answer.page == entry.page);
    CHECK(answer.range_count == entry.range_count);
    CHECK(all_failed(answer));
  }
  CHECK(host.server.counters().bad_submissions.value() == bad.size());
  CHECK(host.kept(0, ram_bytes));
  // The channel still works.
  host.submit(7, {hint(6 * mib, 9)});
  CHECK(serve(host.server, host.processor) == 1);
  CHECK(host.consume().outcome(0) == Outcome::discarded);
}

TEST_CASE("a submit_tail beyond the ring skips what is pending and the channel goes on") {
  for (const std::uint32_t jump : {abi::ring_entries + 1, 1000000U, 0x80000000U, 0xffffffffU}) {
    CAPTURE(jump);
    Host host;
    for (std::uint32_t slot = 0; slot < abi::ring_entries; ++slot) {
      host.channel->rings.submissions[slot] = {slot, 0, 1};
    }
    host.channel->pages[0].ranges[0] = hint(6 * mib, 9);
    host.tail += jump; // the last one is the tail going back by one
    host.publish();
    CHECK(serve(host.server, host.processor) == 0);
    CHECK(host.server.counters().ring_overruns.value() == 1);
    CHECK(host.channel->rings.submit_head == host.tail);
    CHECK(host.kept(0, ram_bytes));
    CHECK(serve(host.server, host.processor) == 0);
    host.submit(9, {hint(6 * mib, 9)});
    CHECK(serve(host.server, host.processor) == 1);
    CHECK(host.consume().batch_id == 9);
    CHECK(host.server.counters().ring_overruns.value() == 1);
  }
}

TEST_CASE("indices wrap around 2^32") {
  Host host(ChannelProgress{0xfffffffa, 0xfffffffd});
  for (std::uint64_t id = 0; id < 40; ++id) {
    host.submit(id, {hint(6 * mib, 0)}, static_cast<std::uint32_t>(id % abi::ring_entries));
    CHECK(serve(host.server, host.processor) == 1);
    const abi::CompletionEntry answer = host.consume();
    CHECK(answer.batch_id == id);
    CHECK(answer.outcome(0) == Outcome::discarded);
  }
  CHECK(host.channel->rings.submit_head == 34);
  CHECK(host.channel->rings.complete_tail == 37);
  CHECK(host.server.counters().ring_overruns.value() == 0);
}

TEST_CASE("a full ring is served across the wrap, one more is an overrun") {
  Host host(ChannelProgress{0xfffffffc, 0});
  for (std::uint64_t id = 0; id < abi::ring_entries; ++id) {
    host.submit(id, {hint(6 * mib, 0)});
  }
  CHECK(serve(host.server, host.processor) == abi::ring_entries);
  CHECK(host.server.counters().ring_overruns.value() == 0);
}

TEST_CASE("answers without room are dropped and counted; the ring keeps the earlier ones") {
  Host host;
  for (std::uint64_t id = 0; id < abi::completion_entries + 5; ++id) {
    host.submit(id, {hint(6 * mib, 0)});
    serve(host.server, host.processor);
  }
  CHECK(host.server.counters().dropped_answers.value() == 5);
  CHECK(host.channel->rings.complete_tail == abi::completion_entries);
  for (std::uint64_t id = 0; id < abi::completion_entries; ++id) {
    CHECK(host.consume().batch_id == id);
  }
  host.submit(99, {hint(6 * mib, 0)});
  serve(host.server, host.processor);
  CHECK(host.consume().batch_id == 99);
}

TEST_CASE("a complete_head ahead of the tail gets no answers until it is put right") {
  for (const std::uint32_t head : {1U, 0x80000000U, 0xffffffffU - abi::completion_entries}) {
    CAPTURE(head);
    Host host;
    host.channel->rings.complete_head = head;
    host.submit(1, {hint(6 * mib, 0)});
    CHECK(serve(host.server, host.processor) == 1);
    CHECK(host.server.counters().dropped_answers.value() == 1);
    CHECK(host.channel->rings.complete_tail == 0);
    host.channel->rings.complete_head = 0;
    host.submit(2, {hint(6 * mib, 0)});
    serve(host.server, host.processor);
    CHECK(host.consume().batch_id == 2);
  }
}

TEST_CASE("what the guest writes into the host's fields is not believed") {
  Host host;
  host.submit(1, {hint(6 * mib, 0)});
  serve(host.server, host.processor);
  host.consume();
  host.channel->rings.submit_head = 0x12345678;
  host.channel->rings.complete_tail = 0x87654321;
  host.submit(2, {hint(6 * mib, 0)});
  CHECK(serve(host.server, host.processor) == 1);
  CHECK(host.channel->rings.submit_head == 2);
  CHECK(host.channel->rings.complete_tail == 2);
  CHECK(host.consume().batch_id == 2);
}

TEST_CASE("the same batch twice is served twice, each with its own answer") {
  Host host;
  host.submit(5, {hint(6 * mib, 9)});
  host.write_slot({5, 0, 1});
  host.publish();
  CHECK(serve(host.server, host.processor) == 2);
  CHECK(host.consume().batch_id == 5);
  CHECK(host.consume().batch_id == 5);
  CHECK(host.zero(6 * mib, 8 * mib));
  CHECK(host.kept(8 * mib, ram_bytes));
}

TEST_CASE("batches may be answered in another order than they were taken") {
  Host host;
  host.submit(1, {hint(6 * mib, 0)}, 0);
  host.submit(2, {hint(8 * mib, 0)}, 1);
  const auto first = std::make_unique<vmm::Batch>();
  const auto second = std::make_unique<vmm::Batch>();
  REQUIRE(host.server.take(*first));
  REQUIRE(host.server.take(*second));
  CHECK(host.channel->rings.submit_head == 2);
  CHECK(host.channel->rings.complete_tail == 0);
  host.processor.process(*second);
  CHECK(host.server.answer(*second) == AnswerResult::written);
  host.processor.process(*first);
  CHECK(host.server.answer(*first) == AnswerResult::written);
  CHECK(host.consume().batch_id == 2);
  CHECK(host.consume().batch_id == 1);
}

TEST_CASE("a taken batch is the host's own: later changes do not reach it") {
  Host host;
  host.submit(1, {hint(6 * mib, 0)});
  const auto batch = std::make_unique<vmm::Batch>();
  REQUIRE(host.server.take(*batch));
  host.channel->pages[0].ranges[0] = hint(8 * mib, 9);
  host.channel->rings.submissions[0] = {2, 1, 512};
  host.processor.process(*batch);
  CHECK(host.server.answer(*batch) == AnswerResult::written);
  const abi::CompletionEntry answer = host.consume();
  CHECK(answer.batch_id == 1);
  CHECK(answer.range_count == 1);
  CHECK(host.zero(6 * mib, 6 * mib + 4096));
  CHECK(host.kept(6 * mib + 4096, ram_bytes));
}

// Else a guest uses memory that it knows to be taken, and the oracle does not see it.
TEST_CASE("who watches a batch has seen it before the guest sees it as taken") {
  struct Watcher final : vmm::HintObserver {
    explicit Watcher(const abi::Channel& watched) : channel(watched) {}
    void on_taken(const vmm::Batch& batch) override {
      taken_id = batch.submission.batch_id;
      head_then = channel.rings.submit_head;
    }
    const abi::Channel& channel;
    std::uint64_t taken_id = 0;
    std::uint32_t head_then = 99;
  };
  Host host;
  Watcher watcher(*host.channel);
  host.server.set_observer(&watcher, 0);
  host.submit(7, {hint(6 * mib, 0)});
  CHECK(serve(host.server, host.processor) == 1);
  CHECK(watcher.taken_id == 7);
  CHECK(watcher.head_then == 0);
  CHECK(host.channel->rings.submit_head == 1);
}

TEST_CASE("doorbell and interrupt wishes travel by their fields") {
  Host host;
  host.server.set_doorbell(vmm::DoorbellUse::silence);
  CHECK(host.channel->rings.no_doorbell == 1);
  host.server.set_doorbell(vmm::DoorbellUse::ring);
  CHECK(host.channel->rings.no_doorbell == 0);
  CHECK_FALSE(host.server.interrupt_wanted());
  host.channel->rings.want_interrupt = 1;
  CHECK(host.server.interrupt_wanted());
}

TEST_CASE("before the guest has said hello, every hint fails") {
  Host host;
  host.processor.configure({}, {});
  host.submit(1, {hint(6 * mib, 9), hint(0, 0)});
  serve(host.server, host.processor);
  const abi::CompletionEntry answer = host.consume();
  CHECK(answer.outcome(0) == Outcome::failed);
  CHECK(answer.outcome(1) == Outcome::failed);
  CHECK(host.kept(0, ram_bytes));
}

TEST_CASE("a guest that rewrites everything while it is served harms nobody else") {
  Host host;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> writes{0};
  std::thread guest([&] {
    std::uint64_t state = 88172645463325252U;
    while (!stop.load(std::memory_order_relaxed)) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      abi::DescriptorPage& page = host.channel->pages[state % 2];
      // Valid within [8 MiB, 12 MiB), or garbage.
      const std::uint64_t bits = (state & 0x100) != 0
                                     ? hint(8 * mib + (state >> 20) % 1024 * 4096, 0).bits
                                     : state & ~std::uint64_t{0x3ff};
      std::atomic_ref(page.ranges[(state >> 12) % 64].bits)
          .store(bits | (std::uint64_t{(state & 0x100) == 0} << 50), std::memory_order_relaxed);
      abi::SubmissionEntry& slot =
          host.channel->rings.submissions[(state >> 32) % abi::ring_entries];
      std::atomic_ref(slot.page).store(static_cast<std::uint32_t>(state >> 40) % 9,
                                       std::memory_order_relaxed);
      std::atomic_ref(slot.range_count)
          .store(static_cast<std::uint32_t>(state >> 45) % 65, std::memory_order_relaxed);
      writes.fetch_add(1, std::memory_order_release);
    }
  });
  while (writes.load(std::memory_order_acquire) < 1000) {
    std::this_thread::yield();
  }
  std::uint32_t served = 0;
  for (int round = 0; round < 500; ++round) {
    host.tail += 3;
    host.publish();
    served += serve(host.server, host.processor);
    std::atomic_ref(host.channel->rings.complete_head).store(host.channel->rings.complete_tail);
  }
  stop.store(true);
  guest.join();
  CHECK(served == 1500);
  CHECK(host.server.counters().batches_answered.value() == 1500);
  CHECK(host.server.counters().dropped_answers.value() == 0);
  CHECK(host.kept(0, 8 * mib));
  CHECK(host.kept(12 * mib, ram_bytes));
}

TEST_CASE("a processing thread of its own, statistics read meanwhile") {
  Host host;
  for (std::uint64_t id = 0; id < abi::ring_entries; ++id) {
    host.submit(id, {span(6 * mib, 9), hint(6 * mib, 0)}, static_cast<std::uint32_t>(id));
  }
  std::vector<vmm::Batch> batches(abi::ring_entries);
  for (vmm::Batch& batch : batches) {
    REQUIRE(host.server.take(batch));
  }
  std::atomic<bool> done{false};
  std::thread worker([&] {
    for (vmm::Batch& batch : batches) {
      host.processor.process(batch);
      host.server.answer(batch);
    }
    done.store(true);
  });
  std::uint64_t seen = 0;
  while (!done.load()) {
    const std::uint64_t now = host.processor.engine().counters().discarded_bytes.value();
    REQUIRE(now >= seen);
    seen = now;
    std::this_thread::yield();
  }
  worker.join();
  CHECK(host.processor.engine().counters().discarded_bytes.value() ==
        abi::ring_entries * abi::page_bytes);
  CHECK(host.server.counters().batches_answered.value() == abi::ring_entries);
  CHECK(host.processor.validator().count_of(vmm::RangeFault::none) == 2 * abi::ring_entries);
}

TEST_CASE("with a checker, a batch that its tags contradict is answered as failed as a whole") {
  Host host;
  const auto tag_at = [&](std::uint64_t gpa) -> abi::FrameTag& {
    auto* tag = host.memory.object_at<abi::FrameTag>(
        Gpa{tags_gpa + (gpa - managed_start) / abi::page_bytes});
    REQUIRE(tag != nullptr);
    return *tag;
  };
  host.processor.configure(
      {Gpa{managed_start}, Gpa{ram_bytes}},
      vmm::HintChecker(host.memory, Gpa{tags_gpa}, abi::to_pfn({managed_start})));
  tag_at(6 * mib) = abi::FrameTag::make(abi::FrameKind::isolated, Order{9});
  tag_at(8 * mib) = abi::FrameTag::make(abi::FrameKind::allocated, Order{0});

  host.submit(1, {hint(6 * mib, 9)});
  serve(host.server, host.processor);
  CHECK(host.consume().outcome(0) == Outcome::discarded);
  CHECK_FALSE(host.processor.violation());

  std::memset(host.memory.base() + 6 * mib, std::to_integer<int>(mark), 2 * mib);
  host.submit(2, {hint(6 * mib, 9), hint(8 * mib, 0)});
  serve(host.server, host.processor);
  CHECK(all_failed(host.consume()));
  CHECK(host.kept(6 * mib, ram_bytes));
  const auto start = host.processor.violation().value_or(vmm::HintViolation{}).start;
  CHECK(start == Gpa{8 * mib});
  CHECK(host.processor.violation_count() == 1);
}
