// SPDX-License-Identifier: MIT
#include "vmm/io/new_file.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace vmm {
namespace {

constexpr mode_t everybody = 0666; // less the umask

// By this name a descriptor can be linked without capabilities.
std::string own_path(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

} // namespace

Result<NewFile> NewFile::create(const std::string& option, const std::string& path,
                                const OutputPlace& place) {
  UniqueFd unnamed(::open(place.folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, everybody));
  if (unnamed.valid() && ::access(own_path(unnamed.get()).c_str(), F_OK) == 0) {
    return NewFile(place, std::move(unnamed), State::unnamed);
  }
  UniqueFd named(
      ::open(place.path().c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, everybody));
  if (!named.valid()) {
    return user_error("{} {}: cannot be written: {}", option, path, errno_text(errno));
  }
  return NewFile(place, std::move(named), State::named);
}

NewFile::~NewFile() {
  if (fd_.valid() && state_ == State::named) { // not moved from
    ::unlink(place_.path().c_str());
  }
}

int NewFile::publish(Occupied occupied) {
  if (state_ == State::unnamed) {
    const std::string self = own_path(fd_.get());
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, place_.path().c_str(), AT_SYMLINK_FOLLOW) != 0) {
      const int error = errno;
      if (error != EEXIST || occupied == Occupied::refuse) {
        return error;
      }
      if (const int failed = replace_regular(self); failed != 0) {
        return failed;
      }
    }
  }
  state_ = State::published;
  return 0;
}

// A link cannot replace, a rename can: by way of a name beside it that lasts two calls.
int NewFile::replace_regular(const std::string& self) {
  struct stat status {};
  if (::lstat(place_.path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return EEXIST;
  }
  const std::string beside = place_.path() + "." + std::to_string(::getpid());
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, beside.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return errno;
  }
  if (::rename(beside.c_str(), place_.path().c_str()) != 0) {
    const int error = errno;
    ::unlink(beside.c_str());
    return error;
  }
  return 0;
}

} // namespace vmm
