// SPDX-License-Identifier: MIT
// Google Benchmark of the host's way of a batch: submitted, taken, judged, coalesced, discarded,
// answered; against the same discarding calls over the same ranges in a bare loop. Rounds of the
// two take turns. Times are of a whole batch; counters are minima over all rounds:
//
//   whole_us, bare_us   a batch the one way and the other
//   percent             throughput of the whole way, in percent of the bare loop's
//   beyond_us           of the whole way: outside of the discarding calls
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/channel_server.hpp"
#include "vmm/hints/discard_calls.hpp"
#include "vmm/hints/discard_engine.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t managed_start = 4 * mib;
constexpr std::uint64_t most_bytes = 64 * mib; // hinted by a batch
constexpr std::uint32_t most_ranges = 256;
constexpr vmm::Backing backings[] = {vmm::Backing::small_pages, vmm::Backing::thp,
                                     vmm::Backing::memfd};

template <typename T> T must(vmm::Result<T> result) {
  if (!result) {
    std::abort();
  }
  return std::move(*result);
}

// A batch of blocks of one order with a block between any two, so that none are coalesced.
class Batch {
 public:
  Batch(vmm::Backing backing, abi::Order order)
      : memory_(must(vmm::GuestMemory::create(managed_start + 2 * most_bytes, backing))),
        backing_(backing), bytes_(order.bytes()) {
    const auto count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(most_ranges, most_bytes / bytes_));
    for (std::uint32_t index = 0; index < count; ++index) {
      const abi::Gpa start{managed_start + 2 * index * bytes_};
      starts_.push_back(start);
      channel_->pages[0].ranges[index] =
          abi::RangeDescriptor::make(abi::to_pfn(start), order, abi::RangeKind::hint);
      vector_.push_back({.iov_base = memory_.base() + start.value, .iov_len = bytes_});
    }
  }

  void populate() {
    for (const abi::Gpa start : starts_) {
      std::memset(memory_.base() + start.value, 1, bytes_);
    }
  }
  void whole() {
    channel_->rings.submissions[tail_ % abi::ring_entries] = {
        .batch_id = tail_, .page = 0, .range_count = static_cast<std::uint32_t>(starts_.size())};
    std::atomic_ref(channel_->rings.submit_tail).store(++tail_);
    check(server_.take(taken_));
    processor_.process(taken_);
    check(server_.answer(taken_) == vmm::AnswerResult::written);
    channel_->rings.complete_head = channel_->rings.complete_tail;
  }
  void bare() {
    if (backing_ == vmm::Backing::memfd) {
      for (const abi::Gpa start : starts_) {
        check(calls_.punch_hole(memory_.fd(), start.value, bytes_) == 0);
      }
    } else if (self_.works()) {
      check(calls_.process_madvise(self_.number(), vector_, MADV_DONTNEED) ==
            starts_.size() * bytes_);
    } else {
      for (const iovec& range : vector_) {
        check(calls_.madvise(static_cast<std::byte*>(range.iov_base), bytes_, MADV_DONTNEED) == 0);
      }
    }
  }
  [[nodiscard]] std::uint64_t discarding_ns() const {
    return processor_.engine().counters().host_ns.value();
  }

 private:
  static void check(bool done) {
    if (!done) {
      std::abort();
    }
  }

  vmm::GuestMemory memory_;
  vmm::Backing backing_;
  std::uint64_t bytes_;
  vmm::SystemDiscardCalls calls_;
  vmm::SelfPidfd self_ = vmm::SelfPidfd::probe(calls_);
  vmm::BatchProcessor processor_{{abi::Gpa{managed_start}, memory_.end()},
                                 must(vmm::DiscardEngine::create(memory_, {}, calls_))};
  std::unique_ptr<abi::Channel> channel_ = std::make_unique<abi::Channel>();
  vmm::ChannelServer server_{*channel_};
  vmm::Batch taken_;
  std::uint32_t tail_ = 0;
  std::vector<abi::Gpa> starts_;
  std::vector<iovec> vector_;
};

template <typename Step> double seconds(Step step) {
  const auto start = std::chrono::steady_clock::now();
  step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void hints(benchmark::State& state) {
  const vmm::Backing backing = backings[state.range(0)];
  Batch batch(backing, {static_cast<std::uint8_t>(state.range(1))});
  double whole = std::numeric_limits<double>::max();
  double bare = whole;
  double beyond = whole;
  for (auto _ : state) {
    batch.populate();
    const std::uint64_t before_ns = batch.discarding_ns();
    const double this_whole = seconds([&] { batch.whole(); });
    const auto calls_ns = static_cast<double>(batch.discarding_ns() - before_ns);
    batch.populate();
    bare = std::min(bare, seconds([&] { batch.bare(); }));
    whole = std::min(whole, this_whole);
    beyond = std::min(beyond, this_whole - calls_ns / 1e9);
    state.SetIterationTime(this_whole);
  }
  state.SetLabel(std::string(name_of(backing)));
  state.counters["whole_us"] = whole * 1e6;
  state.counters["bare_us"] = bare * 1e6;
  state.counters["percent"] = 100 * bare / whole;
  state.counters["beyond_us"] = beyond * 1e6;
}

} // namespace

int main(int argc, char** argv) {
  // Short batches need more rounds until both ways had an undisturbed one.
  struct Rounds {
    std::int64_t order;
    int count;
  };
  for (const auto& [order, count] : {Rounds{0, 1000}, Rounds{4, 100}, Rounds{9, 30}}) {
    benchmark::RegisterBenchmark("hints", hints)
        ->ArgNames({"backing", "order"})
        ->ArgsProduct({{0, 1, 2}, {order}})
        ->UseManualTime()
        ->Iterations(count)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
