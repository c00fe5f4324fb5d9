// SPDX-License-Identifier: MIT
// Every option of vmm, a row each: how it is written, what --help says of it, and what its value
// does to the configuration. Rules between options are in config.cpp.
#pragma once

#include <span>
#include <string_view>

#include "vmm/settings/command_line.hpp"
#include "vmm/settings/config.hpp"

namespace vmm {

struct OptionRow {
  OptionShape shape;
  // Takes a value over, or a flag's being given. User errors begin with the option's name.
  Result<void> (*take)(std::string_view option, std::string_view value, Config& config);
};

// In the order of --help.
[[nodiscard]] std::span<const OptionRow> option_rows();

} // namespace vmm
