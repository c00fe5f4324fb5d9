// SPDX-License-Identifier: MIT
// How a vCPU asks a thread of the host for something, one call at a time: a mailbox in the vCPU
// page (shared/layout.h) for each kind of call.
//
// The guest writes `call`, then raises `asked`; the host carries the call out, writes `result`,
// then sets `answered` to what it read in `asked`. While `host_watches` is set, a thread of the
// host looks at the mailbox by itself; a hypercall wakes it otherwise, and returns once it has
// answered what was asked before. The host copies a call once and validates the copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace abi {

// At least 0, or the negative of an error number as Linux has them on x86-64.
using CallResult = std::int64_t;

template <typename Call> struct CallMailbox {
  std::uint32_t asked = 0;        // guest-written: counts its calls
  std::uint32_t answered = 0;     // host-written: the `asked` that `result` belongs to
  std::uint32_t host_watches = 0; // host-written
  std::uint32_t reserved = 0;
  CallResult result = 0; // host-written
  Call call;             // guest-written
};

} // namespace abi
