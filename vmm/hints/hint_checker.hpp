// SPDX-License-Identifier: MIT
// Debug aid: checks hints against the guest allocator's own frame tags (shared/frame_tag.hpp)
// before anything is discarded, and so names a guest that hints memory which is in use at the
// moment it does, not when its data turns out to be lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shared/frame_tag.hpp"
#include "shared/report_channel.hpp"
#include "vmm/hints/batch_validator.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

struct HintViolation {
  enum class Reason : std::uint8_t {
    tag_outside_ram, // the guest's tag array does not cover the range
    not_isolated,    // a hint whose first frame is not tagged isolated
    wrong_order,     // a hint of another length than its tag says
    span_in_use,     // a span whose first frame is allocated or cached
  };
  Reason reason = Reason::not_isolated;
  abi::RangeKind kind = abi::RangeKind::hint;
  abi::Gpa start;
  abi::Order order;
  abi::FrameTag tag; // as found; zero for tag_outside_ram

  // One line, for example "hint of a live range: gpa 0x600000, order 9, tag allocated order 9".
  [[nodiscard]] std::string describe() const;
};

class HintChecker {
 public:
  // Where the guest says its tags are (GuestHello): one byte per frame, beginning with
  // `first_pfn`. Any value is safe. `memory` outlives the checker.
  HintChecker(const GuestMemory& memory, abi::Gpa tags, abi::Pfn first_pfn)
      : memory_(&memory), tags_(tags), first_pfn_(first_pfn) {}

  // The first accepted range that the tags contradict. To be called while the batch is not yet
  // answered: the guest changes these tags only afterwards.
  [[nodiscard]] std::optional<HintViolation> check(const CheckedBatch& batch) const;

 private:
  [[nodiscard]] std::optional<abi::FrameTag> tag_of(abi::Pfn pfn) const;

  const GuestMemory* memory_;
  abi::Gpa tags_;
  abi::Pfn first_pfn_;
};

} // namespace vmm
