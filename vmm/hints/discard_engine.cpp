// SPDX-License-Identifier: MIT
#include "vmm/hints/discard_engine.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "vmm/base/clock.hpp"

namespace vmm {
namespace {

// EINTR and EAGAIN pass; a host that goes on repeating them must not hold a batch up without end.
constexpr unsigned max_retries = 8;

// The kernel cuts a vector off at 2 GiB - 4 KiB (MAX_RW_COUNT), and a call as long as this one
// gains nothing from company.
constexpr std::uint64_t max_vector_bytes = std::uint64_t{1} << 30;

bool passes(int error) {
  return error == EINTR || error == EAGAIN;
}

} // namespace

Result<DiscardEngine> DiscardEngine::create(const GuestMemory& memory, DiscardOptions options,
                                            DiscardCalls& calls) {
  DiscardEngine engine(memory, options, calls);
  if (options.method == DiscardMethod::free_lazily && !engine.anonymous()) {
    return user_error("discard method {} needs backing {} or {}, not {}", name_of(options.method),
                      name_of(Backing::thp), name_of(Backing::small_pages),
                      name_of(memory.backing()));
  }
  if (options.method != DiscardMethod::none && engine.anonymous()) {
    engine.self_ = SelfPidfd::probe(calls);
  }
  return engine;
}

DiscardEngine::DiscardEngine(const GuestMemory& memory, DiscardOptions options, DiscardCalls& calls)
    : base_(memory.base()), fd_(memory.fd()), backing_(memory.backing()), options_(options),
      calls_(&calls) {
  options_.vector_length = std::clamp(options.vector_length, 1U, abi::max_batch_ranges);
}

bool DiscardEngine::anonymous() const {
  return backing_ == Backing::thp || backing_ == Backing::small_pages;
}

int DiscardEngine::advice() const {
  return options_.method == DiscardMethod::free_lazily ? MADV_FREE : MADV_DONTNEED;
}

void DiscardEngine::discard(const CheckedBatch& batch, const CoalescedRuns& runs,
                            abi::CompletionEntry& answer) {
  const std::span<const Run> all = runs.runs();
  std::transform(all.begin(), all.end(), extents_.begin(),
                 [this](const Run& run) { return extent_of(run); });
  const std::span<bool> done = std::span(done_).first(all.size());
  std::fill(done.begin(), done.end(), false);

  if (options_.method != DiscardMethod::none && !all.empty()) {
    const std::uint64_t start_ns = monotonic_ns();
    if (anonymous()) {
      advise_vectored(std::span(extents_).first(all.size()), done);
    } else {
      for (std::size_t index = 0; index < all.size(); ++index) {
        done[index] = extents_[index].iov_len != 0 && punch_one(extents_[index]);
      }
    }
    counters_.host_ns.add(monotonic_ns() - start_ns);
  }
  settle(batch, runs, answer);
}

iovec DiscardEngine::extent_of(const Run& run) const {
  if (backing_ != Backing::hugetlb) {
    return {.iov_base = base_ + run.start.value, .iov_len = run.bytes};
  }
  // Inward to whole huge pages: the kernel would zero, not free, the rest.
  const std::uint64_t start = abi::align_up(run.start.value, abi::huge_page_bytes);
  const std::uint64_t end = abi::align_down(run.start.value + run.bytes, abi::huge_page_bytes);
  return {.iov_base = base_ + start, .iov_len = end > start ? end - start : 0};
}

abi::Gpa DiscardEngine::start_of(const iovec& extent) const {
  return {static_cast<std::uint64_t>(static_cast<const std::byte*>(extent.iov_base) - base_)};
}

void DiscardEngine::advise_vectored(std::span<const iovec> extents, std::span<bool> done) {
  while (!extents.empty()) {
    std::size_t length = 1;
    if (self_.works()) {
      std::uint64_t bytes = extents[0].iov_len;
      while (length < extents.size() && length < options_.vector_length &&
             bytes + extents[length].iov_len <= max_vector_bytes) {
        bytes += extents[length].iov_len;
        ++length;
      }
    }
    if (length == 1) {
      done[0] = advise_one(extents[0], 0);
    } else {
      advise_chunk(extents.first(length), done);
    }
    extents = extents.subspan(length);
    done = done.subspan(length);
  }
}

void DiscardEngine::advise_chunk(std::span<const iovec> extents, std::span<bool> done) {
  std::size_t next = 0;
  while (next < extents.size()) {
    std::size_t advised_bytes = 0;
    const int error = with_retries([&] {
      const auto result = calls_->process_madvise(self_.number(), extents.subspan(next), advice());
      advised_bytes = result.value_or(0);
      return result ? 0 : result.error();
    });
    while (next < extents.size() && advised_bytes >= extents[next].iov_len) {
      advised_bytes -= extents[next].iov_len;
      done[next] = true;
      ++next;
    }
    if (next == extents.size()) {
      return;
    }
    if (error == 0) {
      counters_.partial_calls.add();
    }
    // It stopped at this one: do the rest of it alone, then go on with those behind. Every turn
    // of the loop finishes at least this one, so it ends even if each call fails.
    done[next] = advise_one(extents[next], advised_bytes);
    ++next;
  }
}

bool DiscardEngine::advise_one(const iovec& extent, std::size_t done_bytes) {
  std::byte* const start = static_cast<std::byte*>(extent.iov_base) + done_bytes;
  return with_retries(
             [&] { return calls_->madvise(start, extent.iov_len - done_bytes, advice()); }) == 0;
}

bool DiscardEngine::punch_one(const iovec& extent) {
  return with_retries(
             [&] { return calls_->punch_hole(fd_, start_of(extent).value, extent.iov_len); }) == 0;
}

template <typename Call> int DiscardEngine::with_retries(Call call) {
  int error = 0;
  for (unsigned attempt = 0; attempt <= max_retries; ++attempt) {
    if (attempt != 0) {
      counters_.retries.add();
    }
    counters_.calls.add();
    error = call();
    if (!passes(error)) {
      break;
    }
  }
  return error;
}

void DiscardEngine::settle(const CheckedBatch& batch, const CoalescedRuns& runs,
                           abi::CompletionEntry& answer) {
  const std::span<const CheckedRange> ranges = batch.ranges();
  // Written to the answer at the end: four of them share a byte.
  std::array<abi::Outcome, abi::max_batch_ranges> outcomes; // only [0, ranges.size()) is used
  std::uint64_t asked_bytes = 0;
  for (std::uint32_t i = 0; i < ranges.size(); ++i) {
    outcomes[i] = ranges[i].accepted() ? abi::Outcome::declined : abi::Outcome::failed;
    if (ranges[i].accepted() && ranges[i].kind == abi::RangeKind::hint) {
      asked_bytes += ranges[i].bytes;
    }
  }

  const bool promises_zero = options_.method == DiscardMethod::dontneed;
  std::uint64_t hinted_bytes = 0; // given back because of a hint
  std::uint64_t extra_bytes = 0;  // given back because of a span around it
  std::uint64_t failed_ranges = 0;
  for (std::size_t r = 0; r < runs.runs().size(); ++r) {
    const abi::Gpa start = start_of(extents_[r]);
    const std::uint64_t bytes = extents_[r].iov_len;
    abi::Gpa hinted_end = start; // hints below have been summed up
    std::uint64_t run_bytes = 0;
    for (const std::uint16_t member : runs.members(runs.runs()[r])) {
      const CheckedRange& range = ranges[member];
      const abi::Gpa end = range.start + range.bytes;
      if (range.start < start || end > start + bytes) {
        continue; // reaches beyond the whole huge pages: stays declined
      }
      const bool is_hint = range.kind == abi::RangeKind::hint;
      if (!done_[r]) {
        failed_ranges += is_hint && options_.method != DiscardMethod::none ? 1U : 0U;
        continue;
      }
      if (promises_zero) {
        outcomes[member] = abi::Outcome::discarded;
      }
      if (is_hint && end > hinted_end) {
        run_bytes += end - std::max(range.start, hinted_end);
        hinted_end = end;
      }
    }
    hinted_bytes += run_bytes;
    extra_bytes += done_[r] ? bytes - run_bytes : 0;
  }
  answer.set_outcomes(outcomes, batch.count);

  const std::uint64_t discarded_bytes = promises_zero ? hinted_bytes : 0;
  counters_.asked_bytes.add(asked_bytes);
  counters_.discarded_bytes.add(discarded_bytes);
  counters_.declined_bytes.add(asked_bytes - discarded_bytes);
  counters_.lazily_freed_bytes.add(hinted_bytes - discarded_bytes);
  counters_.span_extra_bytes.add(extra_bytes);
  counters_.failed_ranges.add(failed_ranges);
}

} // namespace vmm
