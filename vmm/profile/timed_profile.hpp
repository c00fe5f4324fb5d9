// SPDX-License-Identifier: MIT
// A profile with its times, in speedscope's file format (speedscope.app/file-format-schema.json):
// for that viewer, and for hvtrace, which shows the samples beside a trace. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "vmm/profile/profile_text.hpp"
#include "vmm/profile/sample_series.hpp"

namespace vmm {

// Whether a profile that goes to a file of this name has times.
[[nodiscard]] bool is_timed_profile(std::string_view path);

// A "sampled" profile for each vCPU, "vcpu 0" and so on, in ns of the host's monotonic clock: each
// sample lasts for the periods that it counts for, up to the moment at which the vCPU was seen, but
// not into the one before it. Where a vCPU was not looked at for half a period the sample is empty.
// Frames are named as in folded_stacks(). In pieces to `sink`.
void write_timed_profile(std::span<const SampleSeries> vcpus, std::uint64_t period_ns,
                         const FunctionNames& name_of,
                         const std::function<void(std::string_view)>& sink);

} // namespace vmm
