// SPDX-License-Identifier: MIT
// The doorbell: how the guest tells the host that a channel has submissions. A 32-bit output of
// the channel's number to EBB_PORT_DOORBELL always works. With feature_vmcall, BootInfo::doorbell
// names an instruction that does the same at CPL0.
//
// KVM answers hypercalls itself, but for one that it hands to the vmm if asked to
// (KVM_CAP_EXIT_HYPERCALL): KVM_HC_MAP_GPA_RANGE, whose arguments must look like a range of pages.
// The range named here is the channel's own place in memory, the attributes carry the count of
// batches submitted on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "shared/address.hpp"
#include "shared/layout.h"

namespace abi {

enum class Doorbell : std::uint32_t {
  port = 0,
  vmcall = 1,  // on VMX
  vmmcall = 2, // on SVM
};

// Registers of the call besides RAX = EBB_DOORBELL_CALL. As written by the guest: not yet checked.
struct DoorbellCall {
  std::uint64_t gpa = 0;        // RBX
  std::uint64_t pages = 0;      // RCX
  std::uint64_t attributes = 0; // RDX: batches submitted on the channel, modulo 2^32

  // `channel` is below EBB_MAX_VCPUS.
  static constexpr DoorbellCall make(std::uint32_t channel, std::uint32_t batches) {
    return {EBB_CHANNEL_GPA + std::uint64_t{channel} * EBB_CHANNEL_BYTES,
            EBB_CHANNEL_BYTES / page_bytes, batches};
  }
  // The channel rung for; empty when the arguments are not those of a doorbell.
  [[nodiscard]] constexpr std::optional<std::uint32_t> channel() const {
    const std::uint64_t offset = gpa - EBB_CHANNEL_GPA; // wraps to a large number below it
    if (offset % EBB_CHANNEL_BYTES != 0 || offset / EBB_CHANNEL_BYTES >= EBB_MAX_VCPUS ||
        pages != EBB_CHANNEL_BYTES / page_bytes || attributes > UINT32_MAX) {
      return std::nullopt;
    }
    return static_cast<std::uint32_t>(offset / EBB_CHANNEL_BYTES);
  }
};
static_assert(EBB_CHANNEL_GPA % page_bytes == 0 && EBB_CHANNEL_BYTES % page_bytes == 0);

} // namespace abi
