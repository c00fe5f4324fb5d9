// SPDX-License-Identifier: MIT
// Who called whom, by the chain of frame pointers on a stack. The stack is the guest's and may hold
// anything. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace vmm {

inline constexpr std::size_t most_frames = 64;

// Where a vCPU is.
struct CodePlace {
  std::uint64_t instruction = 0;   // RIP
  std::uint64_t frame_pointer = 0; // RBP
};

// What lies at two words of guest-virtual memory; empty where there is none.
struct TwoWords {
  std::uint64_t first = 0, second = 0;
};
using StackReader = std::function<std::optional<TwoWords>(std::uint64_t address)>;

// Addresses of code, innermost first: where it is, then within each call that led there. Ends at
// the first frame that cannot be one: not aligned, not above the one before it or far from it, not
// there, or with nowhere to return to. Code that keeps no frame pointers ends it early, or is
// missing in the middle.
[[nodiscard]] std::vector<std::uint64_t> walk_stack(const CodePlace& place,
                                                    const StackReader& read);

} // namespace vmm
