// SPDX-License-Identifier: MIT
// ABI version and feature bits. The bump policy and the change log are in shared/README.md.
#pragma once

#include <cstdint>

namespace abi {

// A different major is another protocol: the host refuses the image before it runs.
// A higher minor only adds; what it adds is announced by a feature bit.
inline constexpr std::uint16_t version_major = 1;
inline constexpr std::uint16_t version_minor = 0;

// Feature bits. The host offers a set in BootInfo, the guest answers with the subset it will use
// in GuestHello, and the host refuses a set that is not a subset of its own.
enum Feature : std::uint64_t {
  // Free ranges are hinted over the report channels.
  feature_report = 1U << 0,
  // A range answered as discarded reads as zero at its next touch.
  feature_zeroed = 1U << 1,
  // RAM above BootInfo::plugged_end_gpa is mapped by the plug hypercall before its first use.
  feature_plug = 1U << 2,
};

} // namespace abi
