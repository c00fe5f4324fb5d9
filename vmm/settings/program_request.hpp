// SPDX-License-Identifier: MIT
// What a user asks for with `-- PROGRAM [ARGUMENT...]`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.hpp"

namespace vmm {

enum class MountAccess : std::uint8_t { read_only, read_write };

// A directory of the host's that the program sees.
struct ProgramMount {
  std::string host;
  std::string guest; // absolute, without a slash at the end but for the root itself
  MountAccess access = MountAccess::read_only;
};

struct ProgramRequest {
  std::vector<std::string> arguments;        // the program first, as the user named it; empty: none
  std::optional<std::string> first_argument; // what the program is told as its name
  std::vector<std::string> environment;      // "NAME=VALUE", on top of the vmm's own
  enum class Inherit : std::uint8_t { environment, nothing };
  Inherit inherit = Inherit::environment;
  std::optional<std::string> directory; // working directory, in the guest's files
  std::optional<std::string> root;      // the host directory that the guest sees as /
  std::vector<ProgramMount> binds;
  struct UserAndGroup {
    std::uint32_t user = 0;
    std::uint32_t group = 0;
  };
  std::optional<UserAndGroup> user; // whom the program takes itself for

  [[nodiscard]] std::string root_directory() const { return root.value_or("/"); }
};

// "UID:GID" or "UID", which stands for both. Errors begin with `option`.
[[nodiscard]] Result<ProgramRequest::UserAndGroup> parse_user(std::string_view option,
                                                              std::string_view text);
// "HOST[:GUEST][:rw|:ro]"; where GUEST is not given, it is HOST. What the guest makes up itself
// (/proc, /sys, /dev) cannot be hidden so.
[[nodiscard]] Result<ProgramMount> parse_bind(std::string_view option, std::string_view text);
// "NAME=VALUE".
[[nodiscard]] Result<void> check_variable(std::string_view option, std::string_view text);

} // namespace vmm
