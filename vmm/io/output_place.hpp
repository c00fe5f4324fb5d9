// SPDX-License-Identifier: MIT
// Where the path of an output leads: through symbolic links, dangling ones too, to a name in a
// folder, or to a descriptor that the process was started with.
#pragma once

#include <optional>
#include <string>

#include "vmm/base/result.hpp"

namespace vmm {

struct OutputPlace {
  std::string folder; // canonical, without a slash at its end but for the root
  std::string name;   // in the folder; no symbolic link, may be absent
  // "-", /dev/stdout, /dev/fd/N and links to them: to be written to as it is, since opening the
  // path would begin at the start of the file again (a socket cannot be opened at all).
  std::optional<int> descriptor;

  [[nodiscard]] std::string path() const {
    return folder == "/" ? folder + name : folder + "/" + name;
  }
};

// Opens nothing. User error when a folder on the way is absent or may not be searched; `option`
// ("--stats") begins the message.
[[nodiscard]] Result<OutputPlace> find_output_place(const std::string& option,
                                                    const std::string& path);

// Whether a file that is open for writing takes it at a place and keeps it: those of /proc are
// regular and empty by their looks, and do not.
[[nodiscard]] bool keeps_what_is_written(int fd);

} // namespace vmm
