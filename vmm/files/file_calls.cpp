// SPDX-License-Identifier: MIT
#include "vmm/files/file_calls.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "vmm/base/fd_status.hpp"
#include "vmm/calls/call_result.hpp"

namespace vmm {
namespace {

constexpr std::uint32_t known_flags = (abi::file_no_wait << 1) - 1;
// And the bit that lets only owners remove what is in a directory; nobody gets another's identity
// by what a guest has written.
constexpr std::uint32_t rights_mask = 01777;

} // namespace

abi::FileResult FileCalls::perform(const abi::FileCall& call) {
  if ((call.flags & ~known_flags) != 0 || (call.mode & ~rights_mask) != 0 ||
      call.buffer_bytes > abi::file_transfer_bytes) {
    return -EINVAL;
  }
  if (buffer_of(call).size() != call.buffer_bytes) {
    return -EFAULT;
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
  case abi::FileOperation::link:
    return link(call);
  case abi::FileOperation::make_link:
    return make_link(call);
  case abi::FileOperation::set_mode:
  case abi::FileOperation::set_times:
  case abi::FileOperation::set_owner:
    return set_attributes(call);
  case abi::FileOperation::space:
    return space(call);
  case abi::FileOperation::allocate:
    return allocate(call);
  case abi::FileOperation::wait:
    return wait(call);
  case abi::FileOperation::watch:
    return watch(call);
  case abi::FileOperation::seek:
    return seek(call);
  case abi::FileOperation::terminal_mode:
    return terminal_mode(call);
  case abi::FileOperation::set_terminal_mode:
    return set_terminal_mode(call);
  case abi::FileOperation::flush_terminal:
    return flush_terminal(call);
  case abi::FileOperation::readable_bytes:
    return readable_bytes(call);
  case abi::FileOperation::stop:
    return stop();
  case abi::FileOperation::code:
    return code(call);
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
  const auto slot = std::find_if(files_.begin() + first_free_, files_.end(),
                                 [](const OpenFile& file) { return !file.fd.valid(); });
  first_free_ = slot - files_.begin();
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
  *slot = {.fd = std::move(file),
           .place = place.access,
           .opened = has(call, abi::file_write) ? MountAccess::read_write : MountAccess::read_only};
  if (wishes_.code) {
    slot->path = std::move(path);
  }
  return slot - files_.begin();
}

// Looked at before it is opened: opening a device or a pipe does something. That it is the same
// afterwards is checked, because names may change meanwhile; a file that is made is new.
abi::FileResult FileCalls::open_located(const FileMounts::Place& place, const abi::FileCall& call,
                                        UniqueFd& file) const {
  const bool writes = has(call, abi::file_write);
  if (!writes && (has(call, abi::file_create) || has(call, abi::file_truncate) ||
                  has(call, abi::file_temporary))) {
    return -EINVAL;
  }
  if (has(call, abi::file_temporary)) {
    return open_temporary(place, call, file);
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
    if (fd_status(before->get(), was) != 0) {
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
  if (!opened && opened.error() == EACCES && writes && !makes) {
    // Its owner may write to it and not read it.
    opened = FileMounts::open_beneath(place, (how & ~std::uint64_t{O_ACCMODE}) | O_WRONLY);
  }
  if (!opened) {
    return -opened.error();
  }
  struct stat is {};
  if (fd_status(opened->get(), is) != 0 ||
      (before && (is.st_dev != was.st_dev || is.st_ino != was.st_ino))) {
    return -EACCES;
  }
  if (has(call, abi::file_truncate) && ::ftruncate(opened->get(), 0) != 0) {
    return failed();
  }
  file = std::move(*opened);
  return 0;
}

abi::FileResult FileCalls::open_temporary(const FileMounts::Place& place, const abi::FileCall& call,
                                          UniqueFd& file) {
  const auto folder = FileMounts::locate(place, O_NOFOLLOW | O_DIRECTORY);
  if (!folder) {
    return -folder.error();
  }
  if (place.access != MountAccess::read_write) {
    return -EROFS;
  }
  auto opened =
      FileMounts::open_beneath({folder->get(), ".", place.access}, O_TMPFILE | O_RDWR, call.mode);
  if (!opened) {
    return -opened.error();
  }
  file = std::move(*opened);
  return 0;
}

abi::FileResult FileCalls::close(const abi::FileCall& call) {
  if (opened_fd_of(call.file) < 0) {
    return -EBADF;
  }
  files_[call.file] = {};
  first_free_ = std::min<std::ptrdiff_t>(first_free_, call.file);
  return 0;
}

// ---- content -----------------------------------------------------------------------------------

abi::FileResult FileCalls::read(const abi::FileCall& call) const {
  const int fd = fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  const std::span<std::byte> buffer = buffer_of(call);
  if (call.file < streams) {
    return read_stream(fd, buffer, stream_waiting(call));
  }
  const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(call.offset));
  return got >= 0 ? got : failed();
}

// By the descriptor's own flag: overlayfs of Linux 6.1 takes RWF_APPEND and writes where the
// offset says.
bool FileCalls::set_append(OpenFile& file, bool appends) {
  if (file.appends != appends) {
    if (::fcntl(file.fd.get(), F_SETFL, O_NONBLOCK | (appends ? O_APPEND : 0)) != 0) {
      return false;
    }
    file.appends = appends;
  }
  return true;
}

abi::FileResult FileCalls::write(const abi::FileCall& call) {
  const int fd = fd_of(call.file);
  if (fd < 0 || (call.file >= streams && files_[call.file].opened != MountAccess::read_write)) {
    return -EBADF;
  }
  const std::span<std::byte> buffer = buffer_of(call);
  if (call.file < streams) {
    return write_stream(fd, buffer, stream_waiting(call));
  }
  if (!set_append(files_[call.file], has(call, abi::file_append))) {
    return failed();
  }
  // Where it is appended to the offset does not count (pwrite(2)).
  const ssize_t put = ::pwrite(fd, buffer.data(), buffer.size(), static_cast<off_t>(call.offset));
  return put >= 0 ? put : failed();
}

abi::FileResult FileCalls::truncate(const abi::FileCall& call) const {
  const int fd = opened_fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  if (files_[call.file].opened != MountAccess::read_write) {
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

// Only what leaves the rest of the file where it is.
abi::FileResult FileCalls::allocate(const abi::FileCall& call) const {
  const int fd = opened_fd_of(call.file);
  if (fd < 0 || files_[call.file].opened != MountAccess::read_write) {
    return -EBADF;
  }
  constexpr std::uint32_t punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  constexpr std::uint32_t zero = FALLOC_FL_ZERO_RANGE;
  if (call.mode != 0 && call.mode != FALLOC_FL_KEEP_SIZE && call.mode != punch &&
      call.mode != zero && call.mode != (zero | FALLOC_FL_KEEP_SIZE)) {
    return -EOPNOTSUPP;
  }
  return ::fallocate(fd, static_cast<int>(call.mode), static_cast<off_t>(call.offset),
                     static_cast<off_t>(call.length)) == 0
             ? 0
             : failed();
}

abi::FileResult FileCalls::random(const abi::FileCall& call) const {
  const std::span<std::byte> buffer = buffer_of(call);
  if (buffer.size() > abi::random_bytes) {
    return -EINVAL;
  }
  const ssize_t got = ::getrandom(buffer.data(), buffer.size(), 0);
  return got >= 0 ? got : failed();
}

abi::FileResult FileCalls::code(const abi::FileCall& call) const {
  if (!wishes_.code) {
    return -ENOSYS;
  }
  const int fd = opened_fd_of(call.file);
  if (fd < 0) {
    return -EBADF;
  }
  struct stat is {};
  if (fd_status(fd, is) != 0) {
    return failed();
  }
  const auto open_other = [this](const std::string& path) {
    UniqueFd other;
    struct stat found {};
    const bool is_file = open_located(mounts_.place_of(path), {}, other) == 0 &&
                         fd_status(other.get(), found) == 0 && S_ISREG(found.st_mode);
    return is_file ? std::move(other) : UniqueFd();
  };
  wishes_.code({fd, files_[call.file].path, is.st_dev, is.st_ino,
                static_cast<std::uint64_t>(std::max<off_t>(is.st_size, 0)), open_other},
               call);
  return 0;
}

} // namespace vmm
