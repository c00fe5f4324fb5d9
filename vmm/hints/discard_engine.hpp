// SPDX-License-Identifier: MIT
// Gives runs of guest memory back to the host, by the call that fits their backing:
//
//   thp, small_pages  process_madvise, vectored over all runs, where SelfPidfd says it works; else,
//                     and for a run it stops at, madvise
//   memfd             hole punched per run (MADV_DONTNEED would free nothing of shared memory)
//   hugetlb           hole punched into the whole 2 MiB pages of a run; a hint that reaches beyond
//                     them is declined
//
// What is answered:
//   discarded  the range is gone and reads as zero.
//   declined   method `none`; a hint too small (RunSelection); or the host's call failed, in which
//              case a part of the range may be gone already. The guest holds the range free and
//              its contents unknown, so that is no loss.
//   failed     the validator did not accept the descriptor.
// Method `free_lazily` answers declined, too: after MADV_FREE a page reads as old data or as
// zero, whichever the host chooses until it is next written, and only `discarded` promises zero.
// Those bytes have a counter of their own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shared/report_channel.hpp"
#include "vmm/base/counter.hpp"
#include "vmm/base/result.hpp"
#include "vmm/hints/batch_validator.hpp"
#include "vmm/hints/discard_calls.hpp"
#include "vmm/hints/range_coalescer.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/settings/memory_policy.hpp"

namespace vmm {

struct DiscardOptions {
  DiscardMethod method = DiscardMethod::dontneed;
  // Hints below this order are declined, unless a span around them is discarded whole.
  abi::Order decline_below{0};
  // Whole serves every backing: for thp and hugetlb only whole blocks free anything, for the
  // others one call is cheaper than many.
  SpanUse span_use = SpanUse::whole;
  // Runs in one process_madvise, 1...IOV_MAX (1024).
  std::uint32_t vector_length = abi::max_batch_ranges;
};

// Written by the thread that discards, readable by any.
struct DiscardCounters {
  Counter calls;              // system calls made
  Counter retries;            // of these: repetitions after EINTR or EAGAIN
  Counter partial_calls;      // vectored calls that did only a part
  Counter asked_bytes;        // bytes of accepted hints
  Counter discarded_bytes;    // of these: answered as discarded; overlap is counted once
  Counter declined_bytes;     // asked minus discarded
  Counter lazily_freed_bytes; // of the declined ones: MADV_FREE was done
  Counter span_extra_bytes;   // discarded without a hint, because a span was used whole
  Counter failed_ranges;      // accepted hints declined because the host's call failed
  Counter host_ns;            // time in the discarding calls
};

// One per thread that processes batches.
class DiscardEngine {
 public:
  // `memory`'s mapping and `calls` outlive the engine. User error for free_lazily with a backing
  // that is not anonymous, which MADV_FREE does not work on.
  static Result<DiscardEngine> create(const GuestMemory& memory, DiscardOptions options,
                                      DiscardCalls& calls);

  // What coalesce() should select for this engine.
  [[nodiscard]] RunSelection selection() const {
    return {options_.span_use, options_.decline_below};
  }
  [[nodiscard]] bool vectored() const { return self_.works(); }

  // Discards the runs made of `batch` (with selection()) and sets the outcome of every range in
  // `answer`. Bounded: at most max_batch_ranges runs and a bounded number of calls for each.
  // Allocates nothing.
  void discard(const CheckedBatch& batch, const CoalescedRuns& runs, abi::CompletionEntry& answer);

  [[nodiscard]] const DiscardCounters& counters() const { return counters_; }

 private:
  DiscardEngine(const GuestMemory& memory, DiscardOptions options, DiscardCalls& calls);

  [[nodiscard]] bool anonymous() const;
  [[nodiscard]] int advice() const;
  // The part of a run that is given back, as the vectored call wants it.
  [[nodiscard]] iovec extent_of(const Run& run) const;
  [[nodiscard]] abi::Gpa start_of(const iovec& extent) const;
  // Each sets done[i] if extents[i] was given back.
  void advise_vectored(std::span<const iovec> extents, std::span<bool> done);
  void advise_chunk(std::span<const iovec> extents, std::span<bool> done);
  // All of the extent but its first `done_bytes`.
  bool advise_one(const iovec& extent, std::size_t done_bytes);
  bool punch_one(const iovec& extent);
  void settle(const CheckedBatch& batch, const CoalescedRuns& runs, abi::CompletionEntry& answer);
  // Repeats `call` (returning 0 or errno) while it is interrupted or out of resources for the
  // moment, a bounded number of times. Returns the last answer.
  template <typename Call> int with_retries(Call call);

  std::byte* base_;
  int fd_;
  Backing backing_;
  DiscardOptions options_;
  DiscardCalls* calls_;
  SelfPidfd self_;
  DiscardCounters counters_;
  // Scratch of one discard().
  // Of the runs. Made once, and not within this object: it is moved on the stack, which may be
  // short.
  std::vector<iovec> extents_ = std::vector<iovec>(abi::max_batch_ranges);
  std::array<bool, abi::max_batch_ranges> done_{};
};

} // namespace vmm
