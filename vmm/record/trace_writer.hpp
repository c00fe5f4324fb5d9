// SPDX-License-Identifier: MIT
// A trace file in the making: records are written in place into a shared mapping, so that whatever
// happens to this process, the file holds all but the records being written at that moment.
//
// append() makes no system call. A thread of the writer's own keeps the file ahead of it: blocks
// are allocated (a full disk loses records, counted, instead of raising SIGBUS) and touched
// beforehand.
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
#include "vmm/base/thread_start.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

class TraceWriter {
 public:
  // A growing file ends at this length; what comes later is lost.
  static constexpr std::uint64_t max_file_bytes = std::uint64_t{64} << 30;

  // Creates or overwrites `path`. With header.capacity != 0 it is a ring of so many records,
  // allocated at once. User error when the file cannot be made.
  static Result<std::unique_ptr<TraceWriter>> create(const std::string& path,
                                                     const abi::TraceHeader& header);
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;
  ~TraceWriter(); // leaves an unfinished trace unless finish() was called

  // Starts the thread; `tick` is called on it every `period`.
  void start(std::chrono::nanoseconds period, std::function<void()> tick,
             ThreadStart on_start = {});

  // Any thread. `record.sequence` is set here.
  void append(const abi::TraceRecord& record) { write(claim(1), record); }
  // Claims `count` consecutive slots and returns the first; each is then to be written once.
  std::uint64_t claim(std::uint64_t count) {
    return std::atomic_ref(header_->claimed).fetch_add(count, std::memory_order_relaxed);
  }
  void write(std::uint64_t slot, const abi::TraceRecord& record);

  // Stops the thread, cuts the file to what was written and marks it complete. Nobody appends any
  // more.
  void finish();

  [[nodiscard]] std::uint64_t records() const {
    return std::atomic_ref(header_->claimed).load(std::memory_order_relaxed);
  }
  // Record `number` (the first is 1) of a growing file, while others append; empty when it is not
  // whole (yet). Not after finish().
  [[nodiscard]] std::optional<abi::TraceRecord> read(std::uint64_t number) const;
  [[nodiscard]] const abi::TraceHeader& header() const { return *header_; }

 private:
  TraceWriter(UniqueFd fd, std::byte* mapping, std::uint64_t mapping_bytes);

  void keep_ahead();
  void stop();

  UniqueFd fd_;
  std::byte* mapping_;
  std::uint64_t mapping_bytes_;
  abi::TraceHeader* header_;
  abi::TraceRecord* records_;
  std::uint64_t capacity_ = 0;             // of a ring; 0: file
  std::atomic<std::uint64_t> writable_{0}; // records with blocks behind them
  std::uint64_t touched_bytes_ = 0;        // of the mapping, by the thread
  bool out_of_space_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace vmm
