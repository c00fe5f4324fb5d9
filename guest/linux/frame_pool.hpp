// SPDX-License-Identifier: MIT
// Pages of files in memory: frames like those of the program's own memory.
#pragma once

#include "guest/linux/file_port.hpp"
#include "guest/linux/frames.hpp"
#include "guest/linux/page_tree.hpp"

namespace guest::linux {

class FramePool final : public PagePool {
 public:
  // Both outlive this.
  FramePool(Frames& frames, Machine& machine) : frames_(frames), machine_(machine) {}

  [[nodiscard]] std::byte* take() override {
    const std::optional<abi::Pfn> frame = frames_.allocate(1);
    return frame ? reinterpret_cast<std::byte*>(abi::to_gpa(*frame).value) : nullptr; // NOLINT
  }
  void give(std::byte* page) override {
    frames_.release({reinterpret_cast<std::uint64_t>(page) / abi::page_bytes}, 1);
  }
  [[nodiscard]] Space space() override {
    return {machine_.ram_bytes() / abi::page_bytes, machine_.free_bytes() / abi::page_bytes};
  }

 private:
  Frames& frames_;
  Machine& machine_;
};

} // namespace guest::linux
