// SPDX-License-Identifier: MIT
#include "vmm/measure/ever_resident.hpp"

#include <bit>
#include <utility>

#include "vmm/hints/range_coalescer.hpp"
#include "vmm/memory/frame_bits.hpp"

namespace vmm {

EverResident::EverResident(const GuestMemory& memory, FrameScan lookup)
    : marks_(words_for(memory.end().value / abi::page_bytes)), lookup_(std::move(lookup)) {}

void EverResident::mark(abi::Gpa start, std::uint64_t bytes) {
  std::uint64_t added = 0;
  each_word(start, bytes, [&](std::size_t index, std::uint64_t mask) {
    const std::atomic_ref word(marks_[index]);
    if ((word.load(std::memory_order_relaxed) & mask) != mask) {
      const std::uint64_t before = word.fetch_or(mask, std::memory_order_relaxed);
      added += static_cast<unsigned>(std::popcount(mask & ~before));
    }
    return true;
  });
  if (added != 0) {
    frames_.fetch_add(added, std::memory_order_relaxed);
  }
}

bool EverResident::all_marked(abi::Gpa start, std::uint64_t bytes) const {
  return each_word(start, bytes, [&](std::size_t index, std::uint64_t mask) {
    return (std::atomic_ref(marks_[index]).load(std::memory_order_relaxed) & mask) == mask;
  });
}

void EverResident::look_up(abi::Gpa start, std::uint64_t bytes) {
  const std::scoped_lock lock(lookup_mutex_);
  // Where the kernel breaks off, the model is that much too low.
  static_cast<void>(
      lookup_.each(start, bytes, [this](abi::Gpa at, std::uint64_t size) { mark(at, size); }));
}

void EverResident::on_discard_begin(const Batch& /*batch*/, unsigned /*lane*/,
                                    const CoalescedRuns& runs,
                                    const DiscardCounters& /*counters*/) {
  for (const Run& run : runs.runs()) {
    if (!all_marked(run.start, run.bytes)) {
      look_up(run.start, run.bytes);
    }
  }
}

} // namespace vmm
