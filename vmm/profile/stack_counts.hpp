// SPDX-License-Identifier: MIT
// Samples of one vCPU, the same stacks as one with a count. Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace vmm {

// What a vCPU was doing beyond where its code was.
enum class VcpuActivity : std::uint8_t {
  guest, // ran the guest's code
  host,  // was in the vmm, which did something for that code
  idle,  // was halted
};

struct Stack {
  VcpuActivity activity = VcpuActivity::guest;
  std::vector<std::uint64_t> addresses; // of code, innermost first; empty: not known

  friend std::strong_ordering operator<=>(const Stack&, const Stack&) = default;
  friend bool operator==(const Stack&, const Stack&) = default;
};

class StackCounts {
 public:
  // Different stacks beyond are counted together, without addresses: a guest can have any number.
  static constexpr std::size_t most_stacks = 65'536;
  static constexpr std::size_t most_addresses = std::size_t{1} << 20; // of all of them

  // `count` samples of one stack; returns what they are counted as, which stays.
  const Stack& add(Stack stack, std::uint64_t count);

  [[nodiscard]] const std::map<Stack, std::uint64_t>& all() const { return counts_; }

 private:
  std::map<Stack, std::uint64_t> counts_;
  std::size_t addresses_ = 0;
};

} // namespace vmm
