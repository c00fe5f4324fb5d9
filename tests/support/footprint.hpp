// SPDX-License-Identifier: MIT
// Integrates, over the recorded time of a trace, how much memory is live and how much is resident.
// A frame becomes resident when it is handed out (the owner touches all of it) and stops being so
// when the host discards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared/address.hpp"

namespace test_support {

class Footprint {
 public:
  explicit Footprint(abi::Pfn end) : resident_(end.value) {}

  void allocated(abi::Pfn pfn, abi::Order order) {
    live_frames_ += order.frames();
    set_resident(pfn, order, 1);
  }
  void freed(abi::Order order) { live_frames_ -= order.frames(); }
  void discarded(abi::Pfn pfn, abi::Order order) { set_resident(pfn, order, 0); }

  void advance(std::uint64_t microseconds) {
    const auto time = static_cast<double>(microseconds);
    live_integral_ += static_cast<double>(live_frames_) * time;
    resident_integral_ += static_cast<double>(resident_frames_) * time;
  }

  [[nodiscard]] double ratio() const { return resident_integral_ / live_integral_; }
  [[nodiscard]] std::uint64_t live_frames() const { return live_frames_; }
  [[nodiscard]] std::uint64_t resident_frames() const { return resident_frames_; }

 private:
  void set_resident(abi::Pfn pfn, abi::Order order, std::uint8_t value) {
    for (std::uint64_t frame = pfn.value; frame < pfn.value + order.frames(); ++frame) {
      resident_frames_ += value;
      resident_frames_ -= resident_[frame];
      resident_[frame] = value;
    }
  }

  std::vector<std::uint8_t> resident_;
  std::uint64_t live_frames_ = 0;
  std::uint64_t resident_frames_ = 0;
  double live_integral_ = 0;
  double resident_integral_ = 0;
};

} // namespace test_support
