// SPDX-License-Identifier: MIT
// What a process can give up for good, one thing at a time. Capabilities and no_new_privs belong to
// a thread and to those it starts afterwards: call these before there are any.
#pragma once

#include <cstdint>

#include "vmm/base/result.hpp"

namespace vmm {

// No program run from now on gains rights; what a thread needs for filters of its own.
[[nodiscard]] Result<void> forbid_new_privileges();

// Effective, permitted, inheritable and ambient capabilities, and the bounding set where it can be
// changed (an ordinary user cannot, and needs not).
[[nodiscard]] Result<void> drop_capabilities();

// Closes what was open when the program was started, but for standard input, output and error.
// Descriptors of our own are close-on-exec; those are not.
[[nodiscard]] Result<void> close_inherited_descriptors();

// Puts an empty file in the place of standard input.
[[nodiscard]] Result<void> detach_standard_input();

// The highest descriptor that is open. Reads /proc, so before files are given up.
[[nodiscard]] int highest_descriptor();

// No core dump (it would hold the guest's memory), no file longer than `file_bytes`, no descriptor
// of `most` or above; environment error where not even `least` may be had. Not the number of
// threads: KVM makes one of its own in the process at the first KVM_RUN, and a KVM_RUN that cannot
// is refused with EAGAIN each time.
struct DescriptorNumbers {
  unsigned least = 0;
  unsigned most = 0;
};
[[nodiscard]] Result<void> limit_resources(std::uint64_t file_bytes,
                                           const DescriptorNumbers& descriptors);

} // namespace vmm
