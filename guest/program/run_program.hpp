// SPDX-License-Identifier: MIT
// Runs the Linux program that the host asks for.
#pragma once

#include "guest/kernel/kernel.hpp"
#include "shared/program_start.hpp"

namespace guest {

// Does not return: the guest ends with the program's exit status; with 126 or 127 and a line that
// says why when it cannot be loaded.
[[noreturn]] void run_program(Kernel& kernel, abi::ProgramStart& start);
// Prints the system calls that programs can make, a line each.
void list_calls();

} // namespace guest
