// SPDX-License-Identifier: MIT
// A trace file in the making: records are written in place into a shared mapping, so that whatever
// happens to this process, the file holds all but the records being written at that moment.
//
// append() makes no system call. keep_ahead(), called now and then, keeps the file ahead of it:
// blocks are allocated (a full disk loses records, counted, instead of raising SIGBUS) and touched
// beforehand. A file that somebody else makes shorter is given up, and what was lost is counted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "shared/trace_record.hpp"
#include "vmm/base/result.hpp"
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

  // Makes room for what is still to come, and tells the file what was lost so far. One thread at a
  // time, others append.
  void keep_ahead();

  // Any thread. `record.sequence` is set here.
  void append(const abi::TraceRecord& record) { write(claim(1), record); }
  // Claims `count` consecutive slots and returns the first; each is then to be written once.
  std::uint64_t claim(std::uint64_t count) {
    return std::atomic_ref(header_->claimed).fetch_add(count, std::memory_order_relaxed);
  }
  void write(std::uint64_t slot, const abi::TraceRecord& record);

  // Cuts the file to what was written and marks it complete if nothing is missing. Nobody appends
  // any more.
  void finish();

  [[nodiscard]] std::uint64_t records() const {
    return std::atomic_ref(header_->claimed).load(std::memory_order_relaxed);
  }
  // So far; all of it after finish().
  [[nodiscard]] TraceLoss loss() const;
  // Record `number` (the first is 1) of a growing file, while others append; empty when it is not
  // whole (yet). Not after finish().
  [[nodiscard]] std::optional<abi::TraceRecord> read(std::uint64_t number) const;
  [[nodiscard]] const abi::TraceHeader& header() const { return *header_; }
  [[nodiscard]] const TraceTarget& target() const { return target_; }

 private:
  TraceWriter(TraceTarget target, const abi::TraceHeader& header)
      : target_(std::move(target)), pending_header_(header), header_(&pending_header_),
        capacity_(header.capacity) {}

  [[nodiscard]] std::uint64_t first_bytes() const;
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
  std::uint64_t touched_bytes_ = 0;        // of the mapping, by keep_ahead()
  std::uint64_t seen_records_ = 0;         // by keep_ahead()
  std::atomic<int> out_of_space_{0};       // errno
  std::atomic<bool> cut_short_{false};     // by somebody else
};

} // namespace vmm
