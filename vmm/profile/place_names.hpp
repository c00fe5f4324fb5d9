// SPDX-License-Identifier: MIT
// What a place that a profile saw is called: a function of the guest image's or of a file of a
// program's.
#pragma once

#include "vmm/base/symbols.hpp"
#include "vmm/profile/profile_text.hpp"
#include "vmm/profile/program_code.hpp"

namespace vmm {

// What code() of a GuestProfile does not know is the image's. With lines it is "function
// (file.cpp:123)", as tools for flame graphs show it, where the line is known. Both outlive what is
// returned.
[[nodiscard]] FunctionNames place_names(const ProgramCode& code, const Symbols& image,
                                        CodeLines lines);

} // namespace vmm
