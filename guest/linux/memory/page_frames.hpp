// SPDX-License-Identifier: MIT
// A program's memory out of the page allocator: ranges of frames, whatever blocks they are made of.
#pragma once

#include "guest/linux/base/machine.hpp"
#include "guest/linux/memory/frames.hpp"
#include "guest/mm/page_allocator.hpp"

namespace guest::linux {

// What touches content: of frames, and of pages at a program's addresses.
class FrameContent {
 public:
  virtual void zero(abi::Pfn first, std::uint64_t count) = 0;
  virtual void copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) = 0;
  virtual void write(abi::Gpa to, std::span<const std::byte> from) = 0;

 protected:
  FrameContent() = default;
  ~FrameContent() = default;
};

class PageFrames final : public Frames {
 public:
  // All outlive this.
  PageFrames(mm::PageAllocator& pages, FrameContent& content, const Machine& machine)
      : pages_(pages), content_(content), machine_(machine) {}

  [[nodiscard]] bool claim(abi::Pfn first, std::uint64_t count) override;
  [[nodiscard]] std::optional<abi::Pfn> allocate(std::uint64_t count) override;
  void renew(abi::Pfn first, std::uint64_t count) override;
  void copy(std::uint64_t to, std::uint64_t from, std::uint64_t count) override;
  void write(abi::Gpa to, std::span<const std::byte> from) override { content_.write(to, from); }
  void release(abi::Pfn first, std::uint64_t count) override;
  [[nodiscard]] std::uint64_t free_count() const override;
  [[nodiscard]] std::uint64_t count() const override;

 private:
  struct Block {
    abi::Pfn first;
    abi::Order order;
    [[nodiscard]] abi::Pfn end() const { return first + order.frames(); }
  };
  // The allocated block that a frame lies in.
  [[nodiscard]] Block block_of(abi::Pfn frame) const;
  // Managed frames below `end`, which does not lie in the hole.
  [[nodiscard]] std::uint64_t ram_below(abi::Pfn end) const;

  mm::PageAllocator& pages_;
  FrameContent& content_;
  const Machine& machine_; // says on which vCPU
};

} // namespace guest::linux
