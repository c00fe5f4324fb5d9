// SPDX-License-Identifier: MIT
// What `vmm --profile HZ --profile-out FILE.json` has written: samples of vCPUs with their times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.hpp"

namespace hvtrace {

struct ProfileSamples {
  struct Sample {
    std::uint64_t time_ns = 0; // of the host's monotonic clock
    std::size_t stack = 0;
  };
  std::vector<std::string> frames;              // names
  std::vector<std::vector<std::size_t>> stacks; // of frames, outermost first; none is empty
  std::vector<std::vector<Sample>> vcpus;       // by time
};

// Of what says that it is more: nothing is read.
inline constexpr std::uint64_t most_profile_bytes = std::uint64_t{256} << 20;
inline constexpr std::size_t most_profile_samples = std::size_t{16} << 20;

// Samples that a stretch counts for are a period apart, the last one at its end. User error, with
// `name` in front, when the text is no such profile.
[[nodiscard]] vmm::Result<ProfileSamples> parse_profile(std::string_view text,
                                                        const std::string& name);
// The same of a file.
[[nodiscard]] vmm::Result<ProfileSamples> read_profile(const std::string& path);

} // namespace hvtrace
