// SPDX-License-Identifier: MIT
#include "tools/hvtrace/replay.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <fmt/core.h>

#include "vmm/base/clock.hpp"
#include "vmm/base/units.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/discard_calls.hpp"
#include "vmm/measure/sampler.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/huge_pages.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/open_batches.hpp"

namespace hvtrace {
namespace {

using abi::TraceEvent;

template <typename T, std::size_t Size>
vmm::Result<T> choose(std::string_view option, std::string_view text,
                      const std::array<T, Size>& values) {
  for (const T value : values) {
    if (text == vmm::name_of(value)) {
      return value;
    }
  }
  return vmm::user_error("--{} {:?}: unknown", option, text);
}

class Replayer {
 public:
  Replayer(const vmm::GuestMemory& memory, vmm::DiscardEngine engine, const ReplayOptions& options)
      : memory_(memory), options_(options),
        processor_(vmm::ManagedRange{{0}, {memory.size_bytes()}}, std::move(engine)),
        start_ns_(vmm::monotonic_ns()) {}

  void take(const abi::TraceRecord& record) {
    switch (record.event) {
    case TraceEvent::negotiated:
      processor_.configure(
          {{std::min(record.address, memory_.size_bytes())}, {memory_.size_bytes()}}, {});
      break;
    case TraceEvent::batch:
      if (record.detail != 0 && record.count <= abi::max_batch_ranges) {
        auto batch = std::make_unique<vmm::Batch>();
        batch->submission = {.batch_id = record.value, .page = 0, .range_count = record.count};
        open_.open(record) = std::move(batch);
      }
      break;
    case TraceEvent::range:
      take_range(record);
      break;
    case TraceEvent::outcome:
      compare(record);
      break;
    case TraceEvent::answer:
      open_.close(record);
      break;
    default:
      break;
    }
  }

  [[nodiscard]] ReplayResult result() const {
    ReplayResult result = result_;
    const vmm::DiscardCounters& counters = processor_.engine().counters();
    result.asked_bytes = counters.asked_bytes.value();
    result.discarded_bytes = counters.discarded_bytes.value();
    result.calls = counters.calls.value();
    result.host_ns = counters.host_ns.value();
    return result;
  }

 private:
  void take_range(const abi::TraceRecord& record) {
    const auto* const found = open_.find(record);
    if (found == nullptr || record.count >= (*found)->submission.range_count) {
      return;
    }
    vmm::Batch& batch = **found;
    batch.descriptors[record.count] =
        abi::RangeDescriptor::make(abi::to_pfn({record.address}), {record.order},
                                   static_cast<abi::RangeKind>(record.detail & 0x3U));
    if (record.count + 1 == batch.submission.range_count) {
      batch.acceptable = true;
      run(batch, record.time_ns);
    }
  }

  void run(vmm::Batch& batch, std::uint64_t recorded_ns) {
    if (!options_.no_touch) {
      touch(batch);
    }
    if (options_.speed == "real") {
      const std::uint64_t now = vmm::monotonic_ns() - start_ns_;
      if (recorded_ns > now) {
        vmm::monotonic_wait_ns(recorded_ns - now);
      }
      const std::uint64_t begun_ns = vmm::monotonic_ns() - start_ns_;
      result_.behind_ns = std::max(result_.behind_ns.value_or(0),
                                   begun_ns > recorded_ns ? begun_ns - recorded_ns : 0);
    }
    const std::uint64_t before = vmm::monotonic_ns();
    processor_.process(batch);
    result_.batch_ns.add(vmm::monotonic_ns() - before);
    ++result_.batches;
    result_.ranges += batch.submission.range_count;
  }

  // What the guest had done: a page that was never written has nothing to give back.
  void touch(const vmm::Batch& batch) {
    for (const abi::RangeDescriptor range : batch.submitted()) {
      if (range.order().value > abi::max_order) {
        continue;
      }
      const std::span<std::byte> bytes =
          memory_.at(abi::to_gpa(range.pfn()), range.order().bytes());
      for (std::size_t offset = 0; offset < bytes.size(); offset += abi::page_bytes) {
        bytes[offset] = std::byte{1};
      }
    }
  }

  void compare(const abi::TraceRecord& record) {
    const auto* const found = open_.find(record);
    if (found != nullptr && record.count < (*found)->submission.range_count &&
        static_cast<std::uint8_t>((*found)->answer.outcome(record.count)) != record.detail >> 4) {
      ++result_.other_outcomes;
    }
  }

  const vmm::GuestMemory& memory_;
  const ReplayOptions& options_;
  vmm::BatchProcessor processor_;
  std::uint64_t start_ns_;
  OpenBatches<std::unique_ptr<vmm::Batch>> open_;
  ReplayResult result_;
};

} // namespace

vmm::Result<ReplayResult> replay(const TraceSource& source, const ReplayOptions& options) {
  const abi::TraceHeader& header = source.header();
  if (header.level < abi::TraceLevel::ranges) {
    return vmm::user_error("replay needs ranges: record with --trace-level ranges or all");
  }
  if (header.ram_bytes > vmm::max_guest_memory_bytes) {
    return vmm::user_error("replay: {} of guest memory is too much", size_text(header.ram_bytes));
  }
  EBB_TRY_ASSIGN(
      backing, choose("backing",
                      options.backing.empty() ? std::string_view(header.backing) : options.backing,
                      std::array{vmm::Backing::thp, vmm::Backing::small_pages, vmm::Backing::memfd,
                                 vmm::Backing::hugetlb}));
  EBB_TRY_ASSIGN(
      method, choose("discard",
                     options.discard.empty() ? std::string_view(header.discard) : options.discard,
                     std::array{vmm::DiscardMethod::dontneed, vmm::DiscardMethod::free_lazily,
                                vmm::DiscardMethod::none}));
  EBB_TRY_ASSIGN(memory, vmm::GuestMemory::create(header.ram_bytes, vmm::backing_here(backing)));
  vmm::SystemDiscardCalls calls;
  EBB_TRY_ASSIGN(engine, vmm::DiscardEngine::create(memory, {.method = method}, calls));
  Replayer replayer(memory, std::move(engine), options);
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      replayer.take(*record);
    }
  }
  return replayer.result();
}

std::string render_replay(const ReplayResult& result) {
  const double gib_per_s = result.host_ns == 0
                               ? 0
                               : static_cast<double>(result.discarded_bytes) /
                                     static_cast<double>(result.host_ns) * 1e9 / (1U << 30);
  const std::string behind = result.behind_ns
                                 ? fmt::format("at most {} behind the recorded times\n",
                                               vmm::human_duration_ns(*result.behind_ns))
                                 : "";
  return fmt::format(
      "{} batches, {} ranges, {} hinted, {} discarded\n"
      "{} system calls in {}: {:.2f} GiB/s\n"
      "a batch takes p50 {}, p90 {}, p99 {}, max {}\n"
      "{} ranges answered otherwise than in the recording\n{}",
      result.batches, result.ranges, size_text(result.asked_bytes),
      size_text(result.discarded_bytes), result.calls, vmm::human_duration_ns(result.host_ns),
      gib_per_s, vmm::human_duration_ns(result.batch_ns.percentile(50)),
      vmm::human_duration_ns(result.batch_ns.percentile(90)),
      vmm::human_duration_ns(result.batch_ns.percentile(99)),
      vmm::human_duration_ns(result.batch_ns.percentile(100)), result.other_outcomes, behind);
}

} // namespace hvtrace
