// SPDX-License-Identifier: MIT
// Reading a whole regular file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/base/result.hpp"

namespace vmm {

// Reads `path`, which must be a regular file of at most `limit_bytes`. User error otherwise.
[[nodiscard]] Result<std::vector<std::byte>> read_file(const std::string& path,
                                                       std::uint64_t limit_bytes);

// `path` from the root on, as far as that can be told: as it is where the folder is gone.
[[nodiscard]] std::string absolute_path(const std::string& path);

// The folder that a path lies in, "." when it names none.
[[nodiscard]] std::string folder_of(const std::string& path);

} // namespace vmm
