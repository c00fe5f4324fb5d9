// SPDX-License-Identifier: MIT
// Where the debug information of a file is, when it is kept apart: what gdb's manual calls
// "Debugging Information in Separate Files". The file may be anybody's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vmm/base/elf_file.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

// Names to look for the debug information of `file` by, most likely first: by its build id and by
// its .gnu_debuglink. `path` is its own, whole.
[[nodiscard]] std::vector<std::string> debug_file_names(const ElfFile& file,
                                                        const std::string& path);

// Whether `other`, found by such a name, is that of `file`: has its build id, or where it has none
// the checksum that the link tells.
[[nodiscard]] bool is_debug_file(const ElfFile& file, const ElfFile& other);

// A file that is open, to be read as long as somebody has this.
[[nodiscard]] ElfFile elf_file(UniqueFd fd);

} // namespace vmm
