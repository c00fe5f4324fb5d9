// SPDX-License-Identifier: MIT
#include "vmm/settings/program_request.hpp"

#include <charconv>

namespace vmm {
namespace {

std::optional<std::uint32_t> whole_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  return whole ? std::optional(value) : std::nullopt;
}

// "/a//b/" is "/a/b", and "/" is "".
std::string without_spare_slashes(std::string_view path) {
  std::string short_path;
  for (const char letter : path) {
    if (letter != '/' || !short_path.ends_with('/')) {
      short_path += letter;
    }
  }
  return short_path.ends_with('/') ? short_path.substr(0, short_path.size() - 1) : short_path;
}

bool has_dots(const std::string& path) {
  const std::string closed = path + '/';
  return closed.find("/./") != std::string::npos || closed.find("/../") != std::string::npos;
}

bool is_at_or_below(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

} // namespace

Result<ProgramRequest::UserAndGroup> parse_user(std::string_view option, std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto user = whole_number(text.substr(0, colon));
  const auto group = colon == std::string_view::npos ? user : whole_number(text.substr(colon + 1));
  if (!user || !group) {
    return user_error("{} {:?}: must be numbers, UID or UID:GID, such as 1000:1000", option, text);
  }
  return ProgramRequest::UserAndGroup{*user, *group};
}

Result<ProgramMount> parse_bind(std::string_view option, std::string_view text) {
  ProgramMount mount;
  std::string_view rest = text;
  if (rest.ends_with(":rw") || rest.ends_with(":ro")) {
    mount.access = rest.ends_with("w") ? MountAccess::read_write : MountAccess::read_only;
    rest.remove_suffix(3);
  }
  const std::size_t colon = rest.find(':');
  mount.host = rest.substr(0, colon);
  const std::string_view inside = colon == std::string_view::npos ? rest : rest.substr(colon + 1);
  mount.guest = without_spare_slashes(inside);
  if (mount.host.empty() || !inside.starts_with('/') || mount.guest.empty() ||
      mount.guest.contains(':') || has_dots(mount.guest)) {
    return user_error(
        "{} {:?}: must be HOST[:GUEST][:rw|:ro] with directories, GUEST (or HOST alone) "
        "beginning with /, without . and .., and not the root; for that there is "
        "--root",
        option, text);
  }
  for (const std::string_view own : {"/proc", "/sys", "/dev"}) {
    if (is_at_or_below(mount.guest, own) && !is_at_or_below(mount.guest, "/dev/shm")) {
      return user_error("{} {:?}: {} of the guest is made up by itself; choose another GUEST",
                        option, text, own);
    }
  }
  return mount;
}

Result<void> check_variable(std::string_view option, std::string_view text) {
  if (text.find('=') == std::string_view::npos || text.starts_with('=')) {
    return user_error("{} {:?}: must be NAME=VALUE", option, text);
  }
  return {};
}

} // namespace vmm
