// SPDX-License-Identifier: MIT
// Marks of resident memory that somebody waits to see crossed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"
#include "vmm/measure/sampler.hpp"

namespace vmm {

enum class MarkSide : std::uint8_t {
  above, // reached at so many bytes, or more
  below, // at so many, or fewer
};

// Reached once and for all by the first sample on its side.
class MemoryMark {
 public:
  MemoryMark(MarkSide side, std::uint64_t bytes) : side_(side), bytes_(bytes) {}

  // What was resident when it was reached; empty: not yet. Any thread, as the next.
  [[nodiscard]] std::optional<std::uint64_t> reached_bytes() const;
  // True when this sample is the first that reaches it.
  bool look(const MemorySample& sample);

 private:
  static constexpr std::uint64_t not_yet = ~std::uint64_t{0};

  const MarkSide side_;
  const std::uint64_t bytes_;
  std::atomic<std::uint64_t> reached_{not_yet};
};

class MemoryMarks {
 public:
  // Environment error when the host is out of descriptors.
  static Result<std::unique_ptr<MemoryMarks>> create();
  explicit MemoryMarks(Event reached) : reached_(std::move(reached)) {}

  // Watched from the next sample on, as long as somebody holds it. Any thread, as the next.
  [[nodiscard]] std::shared_ptr<MemoryMark> watch(MarkSide side, std::uint64_t bytes);
  // Each sample.
  void look(const MemorySample& sample);
  // Set when one that somebody holds is reached; cleared by who looks.
  [[nodiscard]] const Event& reached() const { return reached_; }

 private:
  const Event reached_;
  std::atomic<bool> any_{false};
  std::mutex mutex_; // guards the next
  std::vector<std::weak_ptr<MemoryMark>> marks_;
};

} // namespace vmm
