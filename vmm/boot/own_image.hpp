// SPDX-License-Identifier: MIT
// The image that came with the vmm: it lies in the vmm's own folder, where it was built and where
// it is installed (what is in PATH is a link to there).
#pragma once

#include <filesystem>
#include <string>

#include "vmm/base/result.hpp"

namespace vmm {

// The folder of the running program, links followed.
[[nodiscard]] std::filesystem::path own_folder();

// The file that `image`, as it was given, stands for: nothing stands for the guest.bin in `own`,
// and a name without a slash that is no file here for that in `own`. Everything else stands for
// itself, whether it is there or not. User error when nothing was given and there is no guest.bin.
[[nodiscard]] Result<std::string> find_image(const std::string& image,
                                             const std::filesystem::path& own);

} // namespace vmm
