// SPDX-License-Identifier: MIT
#include "vmm/profile/stack_counts.hpp"

#include <utility>

namespace vmm {

void StackCounts::add(Stack stack, std::uint64_t count) {
  if (const auto known = counts_.find(stack); known != counts_.end()) {
    known->second += count;
    return;
  }
  if (counts_.size() >= most_stacks || addresses_ + stack.addresses.size() > most_addresses) {
    stack.addresses.clear();
  }
  addresses_ += stack.addresses.size();
  counts_[std::move(stack)] += count;
}

} // namespace vmm
