// SPDX-License-Identifier: MIT
// Guest RAM as KVM memory slots, added in pieces as the guest first needs them.
//
// Under shadow paging a slot costs time and kernel memory in proportion to its size (64 GiB:
// 358 ms and 130 MiB of reverse maps), so a large guest starts with one piece and asks for more
// with the plug hypercall when its allocator's frontier gets there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <utility>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

class MemorySlots {
 public:
  static constexpr std::uint64_t plug_bytes = std::uint64_t{1} << 30;

  // Backs a slot's guest-physical addresses with host memory (Vm::map).
  using Map = std::function<Result<void>(std::uint32_t slot, abi::Gpa start,
                                         std::span<const std::byte> memory, Vm::Access access)>;

  // All outlive the slots.
  MemorySlots(const Vm& vm, const GuestMemory& memory)
      : MemorySlots([&vm](std::uint32_t slot, abi::Gpa start, std::span<const std::byte> bytes,
                          Vm::Access access) { return vm.map(slot, start, bytes, access); },
                    memory) {}
  MemorySlots(Map map, const GuestMemory& memory) : map_(std::move(map)), memory_(memory) {}

  // Maps the piece that starts at `start`, which must be the end of what is mapped. False when it
  // is not, or when nothing is left. Any thread.
  [[nodiscard]] Result<bool> plug(abi::Gpa start);
  // Maps everything: for guests that cannot ask.
  [[nodiscard]] Result<void> plug_all();
  // Maps the memory that has an area of its own outside RAM.
  [[nodiscard]] Result<void> map_own_area();
  // Maps a read-only area outside RAM.
  [[nodiscard]] Result<void> map_input(abi::Gpa gpa, std::span<const std::byte> input);

  // RAM below is mapped.
  [[nodiscard]] abi::Gpa plugged_end();

 private:
  [[nodiscard]] Result<void> plug_next_locked();

  const Map map_;
  const GuestMemory& memory_;
  std::mutex mutex_;
  std::uint32_t next_slot_ = 0; // guarded by mutex_
  abi::Gpa plugged_end_;        // guarded by mutex_
};

} // namespace vmm
