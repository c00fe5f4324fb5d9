// SPDX-License-Identifier: MIT
#include "vmm/base/output_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "vmm/base/file.hpp"

namespace vmm {
namespace {

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : 0);
  }
  return true;
}

// Call before anything can change errno.
std::unexpected<Error> cannot_write(const std::string& path) {
  return user_error("--stats {}: cannot be written: {}", path, errno_text(errno));
}

} // namespace

Result<OutputFile> OutputFile::open(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    return fd.valid() ? Result<OutputFile>(OutputFile(path, {}, std::move(fd)))
                      : cannot_write(path);
  }
  std::string temporary = path + ".XXXXXX";
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) {
    return cannot_write(path);
  }
  OutputFile file(path, std::move(temporary), std::move(fd));
  // mkostemp gives 0600; a report is for everybody whom the umask admits.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return ::fchmod(file.fd_.get(), 0666 & ~mask) == 0 ? Result<OutputFile>(std::move(file))
                                                     : cannot_write(path);
}

OutputFile::~OutputFile() {
  if (fd_.valid() && !temporary_.empty()) { // not moved from, not in place
    ::unlink(temporary_.c_str());
  }
}

std::optional<std::string> OutputFile::folder() const {
  if (temporary_.empty()) {
    return std::nullopt;
  }
  return folder_of(path_);
}

Result<void> OutputFile::write(std::string_view text) {
  if (!write_all(fd_.get(), text)) {
    return cannot_write(path_);
  }
  if (!temporary_.empty()) {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
      return cannot_write(path_);
    }
    temporary_.clear();
  }
  return {};
}

} // namespace vmm
