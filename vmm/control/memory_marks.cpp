// SPDX-License-Identifier: MIT
#include "vmm/control/memory_marks.hpp"

namespace vmm {

std::optional<std::uint64_t> MemoryMark::reached_bytes() const {
  const std::uint64_t bytes = reached_.load(std::memory_order_acquire);
  return bytes == not_yet ? std::nullopt : std::optional(bytes);
}

bool MemoryMark::look(const MemorySample& sample) {
  if (!sample.resident_bytes) {
    return false;
  }
  const std::uint64_t now = *sample.resident_bytes;
  std::uint64_t expected = not_yet;
  return (side_ == MarkSide::above ? now >= bytes_ : now <= bytes_) &&
         reached_.compare_exchange_strong(expected, now, std::memory_order_acq_rel);
}

Result<std::unique_ptr<MemoryMarks>> MemoryMarks::create() {
  EBB_TRY_ASSIGN(reached, Event::create("memory marks"));
  return std::make_unique<MemoryMarks>(std::move(reached));
}

std::shared_ptr<MemoryMark> MemoryMarks::watch(MarkSide side, std::uint64_t bytes) {
  auto mark = std::make_shared<MemoryMark>(side, bytes);
  const std::scoped_lock lock(mutex_);
  marks_.push_back(mark);
  any_.store(true, std::memory_order_release);
  return mark;
}

void MemoryMarks::look(const MemorySample& sample) {
  if (!any_.load(std::memory_order_acquire)) { // nearly always
    return;
  }
  bool reached = false;
  const std::scoped_lock lock(mutex_);
  std::erase_if(marks_, [&](const std::weak_ptr<MemoryMark>& watched) {
    const std::shared_ptr<MemoryMark> mark = watched.lock();
    const bool now = mark && mark->look(sample);
    reached = reached || now;
    return !mark || now;
  });
  any_.store(!marks_.empty(), std::memory_order_release);
  if (reached) {
    reached_.set();
  }
}

} // namespace vmm
