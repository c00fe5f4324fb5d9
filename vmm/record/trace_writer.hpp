// SPDX-License-Identifier: MIT
// A trace file in the making: records are written in place into a shared mapping, so that whatever
// happens to this process, the file holds all but the records being written at that moment.
//
// append() makes no system call. A thread of the writer's own keeps the file ahead of it: blocks
// are allocated (a full disk loses records, counted, instead of raising SIGBUS) and touched
// beforehand. A file that somebody else makes shorter is given up, and what was lost is counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "shared/trace_record.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/io/mapping_guard.hpp"
#include "vmm/record/trace_loss.hpp"
#include "vmm/record/trace_target.hpp"

namespace vmm {

class TraceWriter {
 public:
  // A growing file ends at this length; what comes later is lost.
  static constexpr std::uint64_t max_file_bytes = std::uint64_t{64} << 30;

  // With header.capacity != 0 the trace is a ring of so many records, allocated at once. User error
  // when there is no room for it. Nothing is written yet.
  static Result<std::unique_ptr<TraceWriter>> create(TraceTarget target,
                                                     const abi::TraceHeader& header);
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;
  ~TraceWriter(); // leaves an unfinished trace unless finish() was called

  // The target becomes this trace. Before anything else below; once.
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] bool has_begun() const { return mapping_ != nullptr; }

  // Starts the thread; `tick` is called on it every `period`.
  [[nodiscard]] Result<void> start(std::chrono::nanoseconds period, std::function<void()> tick,
                                   ThreadStart on_start = {});

  // Any thread. `record.sequence` is set here.
  void append(const abi::TraceRecord& record) { write(claim(1), record); }
  // Claims `count` consecutive slots and returns the first; each is then to be written once.
  std::uint64_t claim(std::uint64_t count) {
    return std::atomic_ref(header_->claimed).fetch_add(count, std::memory_order_relaxed);
  }
  void write(std::uint64_t slot, const abi::TraceRecord& record);

  // Ends the thread, after a last turn. Others may still append.
  void stop();
  // stop(), then cuts the file to what was written and marks it complete if nothing is missing.
  // Nobody appends any more.
  void finish();

  [[nodiscard]] std::uint64_t records() const {
    return std::atomic_ref(header_->claimed).load(std::memory_order_relaxed);
  }
  // After finish().
  [[nodiscard]] TraceLoss loss() const;
  // Record `number` (the first is 1) of a growing file, while others append; empty when it is not
  // whole (yet). Not after finish().
  [[nodiscard]] std::optional<abi::TraceRecord> read(std::uint64_t number) const;
  [[nodiscard]] const abi::TraceHeader& header() const { return *header_; }

 private:
  TraceWriter(TraceTarget target, const abi::TraceHeader& header)
      : target_(std::move(target)), pending_header_(header), header_(&pending_header_),
        capacity_(header.capacity) {}

  [[nodiscard]] std::uint64_t first_bytes() const;
  void keep_ahead();
  [[nodiscard]] std::uint64_t allocated_bytes() const;
  void grow(std::uint64_t used);
  [[nodiscard]] bool is_whole();

  TraceTarget target_;
  abi::TraceHeader pending_header_; // until begin()
  abi::TraceHeader* header_;
  std::byte* mapping_ = nullptr;
  std::uint64_t mapping_bytes_ = 0;
  std::optional<MappingGuard> guard_; // after mapping_: it lies within
  abi::TraceRecord* records_ = nullptr;
  const std::uint64_t capacity_;           // of a ring; 0: file
  std::atomic<std::uint64_t> writable_{0}; // records with blocks behind them
  std::atomic<std::uint64_t> lost_{0};     // without
  std::uint64_t touched_bytes_ = 0;        // of the mapping, by the thread
  std::uint64_t seen_records_ = 0;         // by the thread
  int out_of_space_ = 0;                   // errno
  bool cut_short_ = false;                 // by somebody else

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  Thread thread_;
};

} // namespace vmm
