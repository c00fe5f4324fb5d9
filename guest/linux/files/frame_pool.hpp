// SPDX-License-Identifier: MIT
// Pages of files in memory: frames like those of the program's own memory.
#pragma once

#include "guest/linux/files/page_tree.hpp"
#include "guest/linux/memory/frames.hpp"

namespace guest::linux {

class FramePool final : public PagePool {
 public:
  // Outlives this.
  explicit FramePool(Frames& frames) : frames_(frames) {}

  [[nodiscard]] std::byte* take() override {
    const std::optional<abi::Pfn> frame = frames_.allocate(1);
    return frame ? reinterpret_cast<std::byte*>(abi::to_gpa(*frame).value) : nullptr; // NOLINT
  }
  void give(std::byte* page) override {
    frames_.release({reinterpret_cast<std::uint64_t>(page) / abi::page_bytes}, 1);
  }
  [[nodiscard]] Space space() override {
    return {.all_pages = frames_.count(), .free_pages = frames_.free_count()};
  }

 private:
  Frames& frames_;
};

} // namespace guest::linux
