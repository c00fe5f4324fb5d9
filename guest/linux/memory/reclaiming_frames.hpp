// SPDX-License-Identifier: MIT
// Frames that somebody who only keeps them for a while gives back before there are none left.
#pragma once

#include "guest/linux/memory/frames.hpp"

namespace guest::linux {

class ReclaimingFrames final : public Frames {
 public:
  // Both outlive this.
  ReclaimingFrames(Frames& frames, FrameReserve& reserve) : frames_(frames), reserve_(reserve) {}

  [[nodiscard]] bool claim(abi::Pfn first, std::uint64_t count) override {
    return frames_.claim(first, count) ||
           (is_short(count) && reserve_.give_back() && frames_.claim(first, count));
  }
  [[nodiscard]] std::optional<abi::Pfn> allocate(std::uint64_t count) override {
    const std::optional<abi::Pfn> found = frames_.allocate(count);
    return found || !is_short(count) || !reserve_.give_back() ? found : frames_.allocate(count);
  }
  void renew(abi::Pfn first, std::uint64_t count) override { frames_.renew(first, count); }
  void copy(std::uint64_t to, std::uint64_t from, std::uint64_t count) override {
    frames_.copy(to, from, count);
  }
  void write(abi::Gpa to, std::span<const std::byte> from) override { frames_.write(to, from); }
  void release(abi::Pfn first, std::uint64_t count) override { frames_.release(first, count); }
  [[nodiscard]] std::uint64_t free_count() const override { return frames_.free_count(); }
  [[nodiscard]] std::uint64_t count() const override { return frames_.count(); }

 private:
  // Where enough are free, those that were asked for are in use or do not lie in a row, and giving
  // others back does not help.
  [[nodiscard]] bool is_short(std::uint64_t count) const {
    return frames_.free_count() < count * enough;
  }
  static constexpr std::uint64_t enough = 4;

  Frames& frames_;
  FrameReserve& reserve_;
};

} // namespace guest::linux
