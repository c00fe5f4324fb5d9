// SPDX-License-Identifier: MIT
// What the allocators of guest::mm answer.
#pragma once

#include <cstdint>

#include "shared/address.hpp"

namespace guest::mm {

enum class AllocateStatus : std::uint8_t {
  ok,
  needs_plug,    // only RAM that is not mapped yet could serve it
  out_of_memory, // nothing free that is large enough
};

// What is known of the bytes of a block that is handed out.
enum class Content : std::uint8_t {
  dirty,  // anything
  zeroed, // every byte reads as zero
};

enum class FreeResult : std::uint8_t {
  ok,
  not_allocated, // free already, or inside a block, or never handed out
  wrong_order,   // allocated, with another order
  out_of_range,  // not memory of this allocator
  unaligned,     // not a multiple of its own size
};

struct Allocation {
  AllocateStatus status = AllocateStatus::out_of_memory;
  Content content = Content::dirty;
  abi::Pfn pfn;

  [[nodiscard]] bool ok() const { return status == AllocateStatus::ok; }
};

} // namespace guest::mm
