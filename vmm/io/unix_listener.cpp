// SPDX-License-Identifier: MIT
#include "vmm/io/unix_listener.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace vmm {
namespace {

constexpr mode_t owner_only = 0600;
constexpr int backlog = 8;

// Call before anything can change errno.
std::unexpected<Error> cannot_use(const std::string& option, const std::string& path) {
  const int error = errno;
  return user_error("{} {}: {}", option, path, errno_text(error));
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Justified: the socket calls take every kind of address by this type.
const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

UniqueFd stream_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Makes room for a socket at `path`: removes one that nobody listens on.
Result<void> remove_stale(const std::string& option, const std::string& path,
                          const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return errno == ENOENT ? Result<void>{} : cannot_use(option, path);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return user_error("{} {}: exists and is no socket; choose another path", option, path);
  }
  const UniqueFd probe = stream_socket();
  if (!probe.valid()) {
    return cannot_use(option, path);
  }
  // A listener whose queue is full answers EAGAIN: it is there all the same.
  if (::connect(probe.get(), generic(address), sizeof address) == 0 || errno == EAGAIN) {
    return user_error("{} {}: in use by another process", option, path);
  }
  if (errno != ECONNREFUSED) {
    return cannot_use(option, path);
  }
  return ::unlink(path.c_str()) == 0 ? Result<void>{} : cannot_use(option, path);
}

} // namespace

Result<UnixListener> UnixListener::create(const std::string& option, const std::string& path) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
    return user_error("{} {}: a socket's path has 1 to {} characters", option, path,
                      sizeof(sockaddr_un::sun_path) - 1);
  }
  const sockaddr_un address = address_of(path);
  EBB_TRY(remove_stale(option, path, address));
  UniqueFd fd = stream_socket();
  // The mode of an unbound socket is that of the file which bind makes (less the umask), so there
  // is no moment at which others could connect.
  if (!fd.valid() || ::fchmod(fd.get(), owner_only) != 0 ||
      ::bind(fd.get(), generic(address), sizeof address) != 0) {
    return cannot_use(option, path);
  }
  if (::listen(fd.get(), backlog) != 0) {
    const auto error = cannot_use(option, path);
    ::unlink(path.c_str());
    return error;
  }
  return UnixListener(path, std::move(fd));
}

UnixListener::UnixListener(std::string path, UniqueFd fd)
    : path_(std::move(path)), fd_(std::move(fd)) {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) == 0) {
    device_ = status.st_dev;
    inode_ = status.st_ino;
  }
}

UnixListener::~UnixListener() {
  struct stat status {};
  if (fd_.valid() && // not moved from
      ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

} // namespace vmm
