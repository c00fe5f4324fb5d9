// SPDX-License-Identifier: MIT
#include "vmm/kvm/memory_slots.hpp"

#include <algorithm>

namespace vmm {

Result<bool> MemorySlots::plug(abi::Gpa start) {
  const std::scoped_lock lock(mutex_);
  if (start != plugged_end_ || plugged_end_ >= memory_.end()) {
    return false;
  }
  EBB_TRY(plug_next_locked());
  return true;
}

Result<void> MemorySlots::plug_all() {
  const std::scoped_lock lock(mutex_);
  while (plugged_end_ < memory_.end()) {
    EBB_TRY(plug_next_locked());
  }
  return {};
}

Result<void> MemorySlots::map_own_area() {
  const std::scoped_lock lock(mutex_);
  return map_(next_slot_++, memory_.own_start(), memory_.own_area(), Vm::Access::read_write);
}

Result<void> MemorySlots::map_input(abi::Gpa gpa, std::span<const std::byte> input) {
  const std::scoped_lock lock(mutex_);
  return map_(next_slot_++, gpa, input, Vm::Access::read_only);
}

abi::Gpa MemorySlots::plugged_end() {
  const std::scoped_lock lock(mutex_);
  return plugged_end_;
}

Result<void> MemorySlots::plug_next_locked() {
  // The hole is 1 GiB aligned, as are plug units: no unit reaches into it.
  const std::uint64_t bytes = std::min(plug_bytes, memory_.end() - plugged_end_);
  EBB_TRY(map_(next_slot_, plugged_end_, memory_.at(plugged_end_, bytes), Vm::Access::read_write));
  ++next_slot_;
  plugged_end_ = plugged_end_ + bytes;
  if (memory_.hole().bytes() != 0 && plugged_end_ == memory_.hole().start) {
    plugged_end_ = memory_.hole().end;
  }
  return {};
}

} // namespace vmm
