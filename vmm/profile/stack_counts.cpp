// SPDX-License-Identifier: MIT
#include "vmm/profile/stack_counts.hpp"

#include <utility>

namespace vmm {

const Stack& StackCounts::add(Stack stack, std::uint64_t count) {
  if (const auto known = counts_.find(stack); known != counts_.end()) {
    known->second += count;
    return known->first;
  }
  if (counts_.size() >= most_stacks || addresses_ + stack.addresses.size() > most_addresses) {
    stack.addresses.clear();
  }
  addresses_ += stack.addresses.size();
  const auto counted = counts_.try_emplace(std::move(stack)).first;
  counted->second += count;
  return counted->first;
}

} // namespace vmm
