// SPDX-License-Identifier: MIT
#include "vmm/io/shared_files.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <vector>

#include "vmm/io/output_place.hpp"

namespace vmm {
namespace {

struct Identity {
  dev_t device = 0;
  ino_t inode = 0;
  std::string name; // in that folder, of what does not exist yet
  bool operator==(const Identity&) const = default;
};

// Empty: may be shared, or cannot be told.
std::optional<Identity> identify(const NamedFile& file) {
  struct stat status {};
  if (::stat(file.path.c_str(), &status) == 0) {
    return S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)
               ? std::nullopt
               : std::optional(Identity{status.st_dev, status.st_ino, {}});
  }
  if (errno != ENOENT) {
    return std::nullopt;
  }
  const auto place = find_output_place(file.what, file.path);
  if (!place || place->descriptor || ::stat(place->folder.c_str(), &status) != 0) {
    return std::nullopt;
  }
  return Identity{status.st_dev, status.st_ino, place->name};
}

} // namespace

Result<void> refuse_shared_files(std::span<const NamedFile> files) {
  std::vector<std::optional<Identity>> identities;
  for (const NamedFile& file : files) {
    identities.push_back(identify(file));
  }
  for (std::size_t later = 0; later < files.size(); ++later) {
    for (std::size_t earlier = 0; earlier < later; ++earlier) {
      const NamedFile& a = files[earlier];
      const NamedFile& b = files[later];
      if (!identities[later] || identities[later] != identities[earlier] ||
          (a.use == NamedFile::Use::read && b.use == NamedFile::Use::read)) {
        continue;
      }
      const NamedFile& output = b.use == NamedFile::Use::written ? b : a;
      const NamedFile& other = &output == &b ? a : b;
      return user_error("{} {}: is the same file as {} {}; name another one", output.what,
                        output.path, other.what, other.path);
    }
  }
  return {};
}

} // namespace vmm
