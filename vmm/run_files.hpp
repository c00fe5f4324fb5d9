// SPDX-License-Identifier: MIT
// Files of one run that are opened before anything runs, or refused.
#pragma once

#include <optional>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/debug/core_file.hpp"
#include "vmm/io/output_file.hpp"
#include "vmm/settings/config.hpp"

namespace vmm {

// For what there is to tell in the end.
struct RunFiles {
  std::optional<OutputFile> stats;
  std::optional<OutputFile> profile;
  std::optional<CoreFile> core;
};

// Where there is a path. User error when it cannot be written.
[[nodiscard]] Result<void> open_output(const char* option, const std::optional<std::string>& path,
                                       std::optional<OutputFile>& file);

// User error when something would be written over what the same run reads, or writes elsewhere.
// `program_file`: the program's, if there is one.
[[nodiscard]] Result<void> keep_files_apart(const Config& config,
                                            const std::optional<std::string>& program_file);

} // namespace vmm
