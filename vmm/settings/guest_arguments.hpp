// SPDX-License-Identifier: MIT
// The parameters of a workload (--arg KEY=VALUE) and the form in which the guest reads them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/settings/config.hpp"

namespace vmm {

// Whether `text` is KEY=VALUE with a key of a-z, 0-9, _ and - that neither an option of its own
// sets nor any of `earlier` has. User errors begin with `option`.
[[nodiscard]] Result<void> check_guest_argument(std::string_view option, std::string_view text,
                                                std::span<const std::string> earlier);

// What goes into BootInfo::args: "workload=NAME", "speed=max|real", then Config::guest_args, each
// ended by NUL. parse_command_line has checked that it fits boot_args_bytes.
[[nodiscard]] std::string encode_guest_args(const Config& config);

} // namespace vmm
