// SPDX-License-Identifier: MIT
// What a profile says: folded stacks, which tools for flame graphs take, and the functions that
// vCPUs were in most often. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "vmm/profile/stack_counts.hpp"

namespace vmm {

// The function at an address of code; empty: not known.
using FunctionNames = std::function<std::string(std::uint64_t address)>;

// The frames of a stack, outermost first. What is not a function of the guest's is in brackets:
// [unknown], [host] (the vmm does something for the function before it), [idle].
[[nodiscard]] std::vector<std::string> frame_names(const Stack& stack,
                                                   const FunctionNames& name_of);

// A line for each stack: "vcpu 0;outermost;...;innermost COUNT", with frame_names(). `vcpus` in
// their order.
[[nodiscard]] std::string folded_stacks(std::span<const StackCounts> vcpus,
                                        const FunctionNames& name_of);

// How many samples found a vCPU there, by the innermost function.
struct FunctionShare {
  std::string function;
  std::uint64_t samples = 0;
};
struct ProfileTotals {
  std::uint64_t samples = 0;
  std::vector<FunctionShare> functions; // most samples first, then by name
};
[[nodiscard]] ProfileTotals profile_totals(std::span<const StackCounts> vcpus,
                                           const FunctionNames& name_of);

// The first functions of them, for a user; `hz` is how often each vCPU was looked at.
[[nodiscard]] std::string profile_summary(const ProfileTotals& totals, std::uint32_t hz);

} // namespace vmm
