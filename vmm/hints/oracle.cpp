// SPDX-License-Identifier: MIT
#include "vmm/hints/oracle.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include <fmt/core.h>

#include "shared/frame_tag.hpp"
#include "vmm/hints/batch.hpp"

namespace vmm {

Oracle::Oracle(const GuestMemory& memory, Failed failed)
    : memory_(memory), failed_(std::move(failed)), validator_(ManagedRange{}),
      in_flight_(memory.end().value / abi::page_bytes), answered_(memory) {}

Result<void> Oracle::configure(const abi::GuestHello& hello) {
  const std::uint64_t frames = abi::to_pfn(memory_.end()).value -
                               std::min(abi::to_pfn(memory_.end()).value, hello.tags_first_pfn);
  if (memory_.at({hello.tags_gpa}, frames).empty() ||
      (!memory_.in_own_area({hello.tags_gpa}) &&
       hello.tags_gpa + frames > hello.managed_start_gpa)) {
    return environment_error("--oracle: the guest's frame tags at {:#x} are neither in its own "
                             "area nor in RAM below {:#x}, what it reports",
                             hello.tags_gpa, hello.managed_start_gpa);
  }
  tags_ = {hello.tags_gpa};
  tags_first_ = {hello.tags_first_pfn};
  const std::scoped_lock lock(mutex_);
  validator_.set_managed({{hello.managed_start_gpa}, memory_.end(), memory_.hole()});
  return {};
}

// Changes the access to all that the batch names and may name.
void Oracle::guard_locked(const Batch& batch, Access access) {
  validator_.validate(batch.submitted(), checked_);
  coalesce(checked_.ranges(), {}, runs_);
  const int protection = access == Access::all ? PROT_READ | PROT_WRITE : PROT_NONE;
  for (const Run& run : runs_.runs()) {
    std::byte* const address = memory_.base() + run.start.value;
    if (::mprotect(address, run.bytes, protection) == 0) {
      totals_.guarded_bytes += access == Access::none ? run.bytes : 0;
      mark_locked(run.start, run.bytes, access);
    } else if (access == Access::none) {
      // Huge pages of a pool have no smaller parts, and the number of mappings is limited.
      ++totals_.unguarded_ranges;
    } else if (in_flight_locked(run.start, run.bytes) && failed_) {
      failed_(fmt::format("--oracle: cannot restore access to {} bytes at gpa {:#x}: {}", run.bytes,
                          run.start.value, errno_text(errno)));
    }
  }
}

void Oracle::end() {
  const std::scoped_lock lock(mutex_);
  const auto all = static_cast<std::ptrdiff_t>(in_flight_.size());
  for (std::ptrdiff_t frame = 0; frame < all;) {
    const auto first = std::find(in_flight_.begin() + frame, in_flight_.end(), true);
    const auto last = std::find(first, in_flight_.end(), false);
    frame = last - in_flight_.begin();
    const abi::Gpa start{static_cast<std::uint64_t>(first - in_flight_.begin()) * abi::page_bytes};
    const std::uint64_t bytes = static_cast<std::uint64_t>(last - first) * abi::page_bytes;
    if (bytes != 0 &&
        ::mprotect(memory_.base() + start.value, bytes, PROT_READ | PROT_WRITE) == 0) {
      mark_locked(start, bytes, Access::all);
    }
  }
}

void Oracle::mark_locked(abi::Gpa start, std::uint64_t bytes, Access access) {
  const auto first = in_flight_.begin() + static_cast<std::ptrdiff_t>(abi::to_pfn(start).value);
  std::fill(first, first + static_cast<std::ptrdiff_t>(bytes / abi::page_bytes),
            access == Access::none);
}

bool Oracle::in_flight_locked(abi::Gpa start, std::uint64_t bytes) const {
  const std::uint64_t end = (start.value + bytes + abi::page_bytes - 1) / abi::page_bytes;
  for (std::uint64_t frame = abi::to_pfn(start).value; frame < end && frame < in_flight_.size();
       ++frame) {
    if (in_flight_[frame]) {
      return true;
    }
  }
  return false;
}

std::string Oracle::describe_access(std::optional<abi::Gpa> gpa) const {
  const std::scoped_lock lock(mutex_);
  if (!gpa) {
    return "use after report: access to memory in flight, or else forbidden by the host's mapping";
  }
  // The answer may have come since: that it was forbidden is proof enough.
  return fmt::format("use after report: access to gpa {:#x}, {}", gpa->value,
                     in_flight_locked(*gpa, 1) ? "whose hint is in flight"
                                               : "whose hint was in flight");
}

std::optional<std::string> Oracle::copy(abi::Gpa gpa, std::span<const std::byte> bytes) const {
  const std::scoped_lock lock(mutex_);
  if (in_flight_locked(gpa, bytes.size())) {
    return std::nullopt;
  }
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

bool Oracle::allocated_since(abi::Gpa start, std::uint64_t bytes) const {
  const std::uint64_t end = (start.value + bytes) / abi::page_bytes;
  for (std::uint64_t frame = abi::to_pfn(start).value; frame < end; ++frame) {
    if (frame < tags_first_.value) {
      return true; // not the allocator's
    }
    auto* const tag = memory_.object_at<std::uint8_t>(tags_ + (frame - tags_first_.value));
    if (tag == nullptr ||
        abi::FrameTag{std::atomic_ref(*tag).load(std::memory_order_relaxed)}.audit()) {
      return true;
    }
  }
  return false;
}

bool Oracle::pass_begins(std::uint64_t /*now_ns*/, Occasion /*occasion*/) {
  // With the lock no answer gets out, so the guest cannot clear the audit bits of what was found.
  pass_lock_ = std::unique_lock(mutex_);
  ++totals_.scans;
  counted_end_ = 0;
  return true;
}

void Oracle::resident(abi::Gpa start, std::uint64_t bytes) {
  const std::uint64_t grain =
      memory_.backing() == Backing::small_pages || memory_.backing() == Backing::memfd
          ? abi::page_bytes
          : abi::huge_page_bytes;
  answered_.take(start, bytes, [&](abi::Gpa found, std::uint64_t found_bytes) {
    const std::uint64_t end = std::min(abi::align_up(found.value + found_bytes, grain),
                                       abi::align_down(memory_.end().value, grain));
    for (std::uint64_t at = std::max(abi::align_down(found.value, grain), counted_end_); at < end;
         at += grain) {
      counted_end_ = at + grain;
      totals_.touched_bytes += allocated_since({at}, grain) ? 0 : grain;
    }
  });
}

void Oracle::pass_ends(Ended /*how*/) {
  pass_lock_.unlock();
}

OracleTotals Oracle::totals() const {
  const std::scoped_lock lock(mutex_);
  return totals_;
}

void Oracle::on_taken(const Batch& batch) {
  const std::scoped_lock lock(mutex_);
  guard_locked(batch, Access::none);
  for (const Run& run : runs_.runs()) {
    answered_.forget(run.start, run.bytes);
  }
}

void Oracle::on_answer(const Batch& batch) {
  const std::scoped_lock lock(mutex_);
  guard_locked(batch, Access::all);
  for (std::uint32_t index = 0; index < checked_.count; ++index) {
    const CheckedRange& range = checked_.ranges()[index];
    if (range.accepted() && range.kind == abi::RangeKind::hint &&
        batch.answer.outcome(index) == abi::Outcome::discarded) {
      answered_.watch(range.start, range.bytes);
    }
  }
}

} // namespace vmm
