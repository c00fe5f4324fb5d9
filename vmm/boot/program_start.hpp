// SPDX-License-Identifier: MIT
// From what a user asks for to what the guest is told: which file the program is, its arguments and
// environment (shared/program_start.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/process_start.hpp"
#include "vmm/base/result.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/settings/program_request.hpp"

namespace vmm {

// Finds the program as a shell does: by PATH of its environment unless its name has a slash. The
// guest's files are below request.root. `inherited` is the vmm's environment. The file itself is
// opened, and judged, by the guest; a name that PATH has nowhere is kept as it is, for it to say
// so. `watched`: bits of abi::ProgramWatch. User error when arguments and environment are too long.
[[nodiscard]] Result<std::vector<std::byte>>
program_start(const ProgramRequest& request, std::span<const char* const> inherited,
              const std::string& current_directory, const Inheritance& inheritance,
              std::uint64_t watched, Verbosity verbosity);

// Where that program is on the host, by the same rules; whether anything is there is not asked.
[[nodiscard]] std::string program_file(const ProgramRequest& request,
                                       std::span<const char* const> inherited,
                                       const std::string& current_directory);

} // namespace vmm
