// SPDX-License-Identifier: MIT
#include "vmm/files/file_calls.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace vmm {
namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;
constexpr std::uint32_t known_flags = abi::file_no_follow | abi::file_directory | abi::file_write |
                                      abi::file_create | abi::file_exclusive | abi::file_truncate;
constexpr std::uint32_t rights_mask = 0777;

abi::FileResult failed() {
  return -abi::FileResult{errno};
}

bool has(const abi::FileCall& call, std::uint32_t flag) {
  return (call.flags & flag) != 0;
}

std::int64_t to_ns(const timespec& time) {
  return std::int64_t{time.tv_sec} * ns_per_second + time.tv_nsec;
}

// fstat by number: the C library makes it a call that also takes paths, which the sandbox forbids.
int status_of(int fd, struct stat& status) {
  return static_cast<int>(::syscall(SYS_fstat, fd, &status));
}

abi::FileStat to_stat(const struct stat& from) {
  return {.device = from.st_dev,
          .inode = from.st_ino,
          .links = from.st_nlink,
          .bytes = static_cast<std::uint64_t>(from.st_size),
          .blocks = static_cast<std::uint64_t>(from.st_blocks),
          .accessed_ns = to_ns(from.st_atim),
          .modified_ns = to_ns(from.st_mtim),
          .changed_ns = to_ns(from.st_ctim),
          .mode = from.st_mode,
          .user = from.st_uid,
          .group = from.st_gid,
          .block_bytes = static_cast<std::uint32_t>(from.st_blksize)};
}

abi::FileResult put_stat(int fd, std::span<std::byte> to) {
  struct stat status {};
  if (to.size() < sizeof(abi::FileStat)) {
    return -EINVAL;
  }
  if (status_of(fd, status) != 0) {
    return failed();
  }
  const abi::FileStat stat = to_stat(status);
  std::memcpy(to.data(), &stat, sizeof stat);
  return 0;
}

} // namespace

abi::FileResult FileCalls::perform(const abi::FileCall& call) {
  if ((call.flags & ~known_flags) != 0 || (call.mode & ~rights_mask) != 0 ||
      call.buffer_bytes > abi::file_transfer_bytes) {
    return -EINVAL;
  }
  switch (call.operation) {
  case abi::FileOperation::open:
    return open(call);
  case abi::FileOperation::close:
    return close(call);
  case abi::FileOperation::read:
    return read(call);
  case abi::FileOperation::write:
    return write(call);
  case abi::FileOperation::stat:
    return stat(call);
  case abi::FileOperation::stat_path:
    return stat_path(call);
  case abi::FileOperation::read_link:
    return read_link(call);
  case abi::FileOperation::list:
    return list(call);
  case abi::FileOperation::seek_list:
    return seek_list(call);
  case abi::FileOperation::random:
    return random(call);
  case abi::FileOperation::terminal:
    return terminal(call);
  case abi::FileOperation::truncate:
    return truncate(call);
  case abi::FileOperation::sync:
    return sync(call);
  case abi::FileOperation::make_directory:
    return make_directory(call);
  case abi::FileOperation::remove:
    return remove(call);
  case abi::FileOperation::rename:
    return rename(call);
  }
  return -ENOSYS;
}

// ---- what a call names -------------------------------------------------------------------------

std::span<std::byte> FileCalls::buffer_of(const abi::FileCall& call) const {
  return call.buffer_bytes == 0 ? std::span<std::byte>{}
                                : memory_.at({call.buffer_gpa}, call.buffer_bytes);
}

// 0 and a private copy.
abi::FileResult FileCalls::path_of(std::uint64_t gpa, std::uint64_t bytes,
                                   std::string& path) const {
  if (bytes == 0) {
    return -ENOENT;
  }
  if (bytes > abi::file_path_bytes) {
    return -ENAMETOOLONG;
  }
  const std::span<const std::byte> text = memory_.at({gpa}, bytes);
  if (text.empty()) {
    return -EFAULT;
  }
  path.assign(reinterpret_cast<const char*>(text.data()), text.size());
  return path.find('\0') == std::string::npos ? 0 : -EINVAL;
}

int FileCalls::opened_fd_of(std::uint32_t number) const {
  return number >= streams && number < files_.size() ? files_[number].fd.get() : -1;
}

int FileCalls::fd_of(std::uint32_t number) const {
  return number < streams ? static_cast<int>(number) : opened_fd_of(number);
}

// ---- opening -----------------------------------------------------------------------------------

abi::FileResult FileCalls::open(const abi::FileCall& call) {
  const auto slot = std::find_if(files_.begin() + streams, files_.end(),
                                 [](const OpenFile& file) { return !file.fd.valid(); });
  if (slot == files_.end()) {
    return -EMFILE;
  }
  std::string path;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, path); bad != 0) {
    return bad;
  }
  const FileMounts::Place place = mounts_.place_of(path);
  UniqueFd file;
  if (const abi::FileResult bad = open_located(place, call, file); bad != 0) {
    return bad;
  }
  *slot = {std::move(file),
           has(call, abi::file_write) ? MountAccess::read_write : MountAccess::read_only};
  return slot - files_.begin();
}

// Looked at before it is opened: opening a device or a pipe does something. That it is the same
// afterwards is checked, because names may change meanwhile; a file that is made is new.
abi::FileResult FileCalls::open_located(const FileMounts::Place& place, const abi::FileCall& call,
                                        UniqueFd& file) const {
  const bool writes = has(call, abi::file_write);
  if (!writes && (has(call, abi::file_create) || has(call, abi::file_truncate))) {
    return -EINVAL;
  }
  const std::uint64_t follow = has(call, abi::file_no_follow) ? O_NOFOLLOW : 0U;
  const std::uint64_t directory = has(call, abi::file_directory) ? O_DIRECTORY : 0U;
  const auto before = FileMounts::locate(place, follow | directory);
  const bool makes = !before && before.error() == ENOENT && has(call, abi::file_create);
  if (!before && !makes) {
    return -before.error();
  }
  struct stat was {};
  if (before) {
    if (status_of(before->get(), was) != 0) {
      return failed();
    }
    if (has(call, abi::file_exclusive) && has(call, abi::file_create)) {
      return -EEXIST;
    }
    if (S_ISLNK(was.st_mode)) {
      return -ELOOP;
    }
    if (S_ISDIR(was.st_mode) && writes) {
      return -EISDIR;
    }
    if (!S_ISREG(was.st_mode) && !S_ISDIR(was.st_mode)) {
      return -EACCES;
    }
  }
  if (writes && place.access != MountAccess::read_write) {
    return -EROFS;
  }
  std::uint64_t how = (writes ? O_RDWR : O_RDONLY) | O_NONBLOCK | follow | directory;
  if (makes) {
    how |= O_CREAT | O_EXCL;
  }
  auto opened = FileMounts::open_beneath(place, how, makes ? call.mode : 0);
  if (!opened) {
    return -opened.error();
  }
  struct stat is {};
  if (status_of(opened->get(), is) != 0 ||
      (before && (is.st_dev != was.st_dev || is.st_ino != was.st_ino))) {
    return -EACCES;
  }
  if (has(call, abi::file_truncate) && ::ftruncate(opened->get(), 0) != 0) {
    return failed();
  }
  file = std::move(*opened);
  return 0;
}

abi::FileResult FileCalls::close(const abi::FileCall& call) {
  if (opened_fd_of(call.file) < 0) {
    return -EBADF;
  }
  files_[call.file] = {};
  return 0;
}

// ---- content -----------------------------------------------------------------------------------

// False when the guest ends first.
bool FileCalls::wait_for(int fd, short events) const {
  std::array<pollfd, 2> waits{pollfd{fd, events, 0}, pollfd{stop_fd_, POLLIN, 0}};
  while (::poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
  }
  return (waits[1].revents & POLLIN) == 0;
}

abi::FileResult FileCalls::read_stream(int fd, std::span<std::byte> buffer) const {
  for (;;) {
    if (!wait_for(fd, POLLIN)) {
      return -EINTR;
    }
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
      return got >= 0 ? got : failed();
    }
  }
}

// Whatever the reader takes at a time: the guest asks again.
abi::FileResult FileCalls::write_stream(int fd, std::span<const std::byte> buffer) const {
  for (;;) {
    if (!wait_for(fd, POLLOUT)) {
      return -EINTR;
    }
    const ssize_t put = ::write(fd, buffer.data(), buffer.size());
    if (put >= 0 || (errno != EAGAIN && errno != EINTR)) {
      return put >= 0 ? put : failed();
    }
  }
}

abi::FileResult FileCalls::read(const abi::FileCall& call) const {
  const int fd = fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() != call.buffer_bytes) {
    return -EFAULT;
  }
  if (call.file < streams) {
    return read_stream(fd, buffer);
  }
  const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(call.offset));
  return got >= 0 ? got : failed();
}

abi::FileResult FileCalls::write(const abi::FileCall& call) const {
  const int fd = fd_of(call.file);
  if (fd < 0 || (call.file >= streams && files_[call.file].access != MountAccess::read_write)) {
    return -EBADF;
  }
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() != call.buffer_bytes) {
    return -EFAULT;
  }
  if (call.file < streams) {
    return write_stream(fd, buffer);
  }
  const ssize_t put = ::pwrite(fd, buffer.data(), buffer.size(), static_cast<off_t>(call.offset));
  return put >= 0 ? put : failed();
}

abi::FileResult FileCalls::truncate(const abi::FileCall& call) const {
  const int fd = opened_fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  if (files_[call.file].access != MountAccess::read_write) {
    return -EINVAL;
  }
  return ::ftruncate(fd, static_cast<off_t>(call.offset)) == 0 ? 0 : failed();
}

abi::FileResult FileCalls::sync(const abi::FileCall& call) const {
  const int fd = opened_fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  return ::fsync(fd) == 0 ? 0 : failed();
}

abi::FileResult FileCalls::random(const abi::FileCall& call) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() != call.buffer_bytes) {
    return -EFAULT;
  }
  if (buffer.size() > abi::random_bytes) {
    return -EINVAL;
  }
  const ssize_t got = ::getrandom(buffer.data(), buffer.size(), 0);
  return got >= 0 ? got : failed();
}

abi::FileResult FileCalls::terminal(const abi::FileCall& call) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() < sizeof(abi::TerminalSize)) {
    return -EINVAL;
  }
  winsize size{};
  if (call.file >= streams || ::ioctl(static_cast<int>(call.file), TIOCGWINSZ, &size) != 0) {
    return -ENOTTY;
  }
  const abi::TerminalSize answer{size.ws_row, size.ws_col};
  std::memcpy(buffer.data(), &answer, sizeof answer);
  return 0;
}

// ---- names and what is said of them ------------------------------------------------------------

abi::FileResult FileCalls::stat(const abi::FileCall& call) const {
  const int fd = fd_of(call.file);
  return fd < 0 ? -EBADF : put_stat(fd, buffer_of(call));
}

abi::FileResult FileCalls::stat_path(const abi::FileCall& call) const {
  std::string path;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, path); bad != 0) {
    return bad;
  }
  const auto found =
      FileMounts::locate(mounts_.place_of(path), has(call, abi::file_no_follow) ? O_NOFOLLOW : 0U);
  return found ? put_stat(found->get(), buffer_of(call)) : -found.error();
}

abi::FileResult FileCalls::read_link(const abi::FileCall& call) const {
  std::string path;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, path); bad != 0) {
    return bad;
  }
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.empty()) {
    return -EINVAL;
  }
  const auto found = FileMounts::locate(mounts_.place_of(path), O_NOFOLLOW);
  if (!found) {
    return -found.error();
  }
  const ssize_t got =
      ::readlinkat(found->get(), "", reinterpret_cast<char*>(buffer.data()), buffer.size());
  // Linux says ENOENT of an empty path that names no link.
  return got >= 0 ? got : errno == ENOENT ? -EINVAL : failed();
}

abi::FileResult FileCalls::list(const abi::FileCall& call) const {
  const int fd = opened_fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.empty()) {
    return -EINVAL;
  }
  const long got = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
  return got >= 0 ? got : failed();
}

abi::FileResult FileCalls::seek_list(const abi::FileCall& call) const {
  const int fd = opened_fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  return ::lseek(fd, static_cast<off_t>(call.offset), SEEK_SET) < 0 ? failed() : 0;
}

abi::FileResult FileCalls::make_directory(const abi::FileCall& call) const {
  std::string path;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, path); bad != 0) {
    return bad;
  }
  const FileMounts::Place place = mounts_.place_of(path);
  const auto parent = FileMounts::parent_of(place);
  if (!parent) {
    return parent.error() == EBUSY ? -EEXIST : -parent.error();
  }
  if (place.access != MountAccess::read_write) {
    return FileMounts::locate(place, O_NOFOLLOW) ? -EEXIST : -EROFS;
  }
  return ::mkdirat(parent->folder.get(), parent->name.c_str(), call.mode) == 0 ? 0 : failed();
}

abi::FileResult FileCalls::remove(const abi::FileCall& call) const {
  std::string path;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, path); bad != 0) {
    return bad;
  }
  const FileMounts::Place place = mounts_.place_of(path);
  const auto parent = FileMounts::parent_of(place);
  if (!parent) {
    return -parent.error();
  }
  if (place.access != MountAccess::read_write) {
    const auto there = FileMounts::locate(place, O_NOFOLLOW);
    return there ? -EROFS : -there.error();
  }
  const int how = has(call, abi::file_directory) ? AT_REMOVEDIR : 0;
  return ::unlinkat(parent->folder.get(), parent->name.c_str(), how) == 0 ? 0 : failed();
}

abi::FileResult FileCalls::rename(const abi::FileCall& call) const {
  std::string from;
  std::string to;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, from); bad != 0) {
    return bad;
  }
  if (const abi::FileResult bad = path_of(call.buffer_gpa, call.buffer_bytes, to); bad != 0) {
    return bad;
  }
  const FileMounts::Place old_place = mounts_.place_of(from);
  const FileMounts::Place new_place = mounts_.place_of(to);
  if (old_place.directory != new_place.directory) {
    return -EXDEV;
  }
  const auto old_parent = FileMounts::parent_of(old_place);
  const auto new_parent = FileMounts::parent_of(new_place);
  if (!old_parent || !new_parent) {
    return -(old_parent ? new_parent.error() : old_parent.error());
  }
  if (old_place.access != MountAccess::read_write) {
    return -EROFS;
  }
  return ::renameat(old_parent->folder.get(), old_parent->name.c_str(), new_parent->folder.get(),
                    new_parent->name.c_str()) == 0
             ? 0
             : failed();
}

} // namespace vmm
