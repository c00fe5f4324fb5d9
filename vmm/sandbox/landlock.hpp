// SPDX-License-Identifier: MIT
// Landlock: takes away the file system, but for a few folders.
#pragma once

#include <span>
#include <string>

#include "vmm/base/result.hpp"

namespace vmm {

// Version of the kernel's Landlock interface; 0 when it offers none.
[[nodiscard]] unsigned landlock_version();

// The calling thread, and those it starts, may open no file any more, run no program, bind and
// connect no TCP port, and signal no other process. In `folders` they may still remove files and
// move one into the place of another. What is open stays open. Needs forbid_new_privileges() and
// landlock_version() > 0; how much of this the kernel enforces grows with its version.
[[nodiscard]] Result<void> confine_to_folders(std::span<const std::string> folders);

} // namespace vmm
