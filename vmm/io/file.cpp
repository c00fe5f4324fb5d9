// SPDX-License-Identifier: MIT
#include "vmm/io/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "vmm/base/unique_fd.hpp"

namespace vmm {

Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t limit_bytes) {
  // O_NONBLOCK: opening a FIFO must fail the check below, not wait for a writer.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    return user_error("{}: cannot open: {}", path, errno_text(errno));
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return user_error("{}: not a regular file", path);
  }
  if (static_cast<std::uint64_t>(info.st_size) > limit_bytes) {
    return user_error("{}: {} bytes is more than the limit of {}", path, info.st_size, limit_bytes);
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return user_error("{}: cannot read at byte {}: {}", path, done,
                        count == 0 ? "file became shorter" : errno_text(errno));
    }
    done += static_cast<std::size_t>(count);
  }
  return bytes;
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

} // namespace vmm
