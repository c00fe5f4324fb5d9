// SPDX-License-Identifier: MIT
#include "vmm/io/replaced_file.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "vmm/base/unique_fd.hpp"
#include "vmm/io/write_all.hpp"

namespace vmm {
namespace {

constexpr mode_t everybody = 0666; // less the umask

} // namespace

int ReplacedFile::open_flags() {
  return O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW;
}

Result<ReplacedFile> ReplacedFile::create(const std::string& option, const std::string& path) {
  EBB_TRY_ASSIGN(place, find_output_place(option, path));
  struct stat status {};
  if (place.descriptor ||
      (::lstat(place.path().c_str(), &status) == 0 && !S_ISREG(status.st_mode))) {
    return user_error("{} {}: is no regular file, and could not be replaced", option, path);
  }
  // Nobody's trace in the making (TraceTarget).
  const UniqueFd old(::open(place.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (old.valid() && ::flock(old.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return user_error("{} {}: another process is writing it", option, path);
  }
  ReplacedFile file(option + " " + path, std::move(place));
  if (const int error = file.write_beside({}); error != 0) {
    return user_error("{} {}: cannot be written: {}", option, path, errno_text(error));
  }
  ::unlink(file.beside().c_str());
  return file;
}

std::string ReplacedFile::beside() const {
  return place_.path() + "." + std::to_string(::getpid());
}

// 0 or an errno; then the name is free again.
int ReplacedFile::write_beside(std::string_view text) const {
  const std::string path = beside();
  const UniqueFd fd(::open(path.c_str(), open_flags(), everybody));
  if (!fd.valid()) {
    return errno;
  }
  const int error = write_all(fd.get(), text);
  if (error != 0) {
    ::unlink(path.c_str());
  }
  return error;
}

Result<void> ReplacedFile::put(std::string_view text) const {
  int error = write_beside(text);
  if (error == 0 && ::rename(beside().c_str(), place_.path().c_str()) != 0) {
    error = errno;
    ::unlink(beside().c_str());
  }
  return error == 0 ? Result<void>{}
                    : environment_error("{}: cannot be written: {}", name_, errno_text(error));
}

} // namespace vmm
