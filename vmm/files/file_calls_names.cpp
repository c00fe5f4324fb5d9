// SPDX-License-Identifier: MIT
// File calls that name a file: what is said of it, and what changes names and attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "vmm/base/fd_status.hpp"
#include "vmm/calls/call_result.hpp"
#include "vmm/files/file_calls.hpp"
#include "vmm/files/file_status.hpp"

namespace vmm {
namespace {

// Linux 6.6.
constexpr long fchmodat2_number = 452;
constexpr std::int64_t ns_per_second = 1'000'000'000;

abi::FileResult answer_of(int result) {
  return result == 0 ? 0 : failed();
}

timespec to_time(std::int64_t ns) {
  if (ns == abi::file_time_now || ns == abi::file_time_kept) {
    return {.tv_sec = 0, .tv_nsec = ns == abi::file_time_now ? UTIME_NOW : UTIME_OMIT};
  }
  const std::int64_t rest = ns % ns_per_second;
  return {.tv_sec = ns / ns_per_second - (rest < 0 ? 1 : 0),
          .tv_nsec = rest < 0 ? rest + ns_per_second : rest};
}

// The same file as behind a descriptor that only names it, open for more; nothing where who we are
// may neither read nor write it.
UniqueFd reopen(const FileMounts::Place& place, const struct stat& status) {
  for (const int access : {O_RDONLY, O_WRONLY}) {
    auto opened = FileMounts::open_beneath(
        place, static_cast<std::uint64_t>(access | O_NONBLOCK | O_NOFOLLOW));
    struct stat is {};
    if (opened && fd_status(opened->get(), is) == 0 && is.st_dev == status.st_dev &&
        is.st_ino == status.st_ino) {
      return std::move(*opened);
    }
  }
  return {};
}

// A descriptor that only names the file will do. Kernels before 6.6 change the mode only of what is
// open for more than that, and say EBADF otherwise: then it is opened at its place, if it has one.
abi::FileResult set_mode(int fd, const FileMounts::Place* place, std::uint32_t mode) {
  struct stat status {};
  if (fd_status(fd, status) != 0) {
    return failed();
  }
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    return -EOPNOTSUPP;
  }
  if (::syscall(fchmodat2_number, fd, "", mode, AT_EMPTY_PATH) == 0) {
    return 0;
  }
  if (errno != ENOSYS) {
    return failed();
  }
  if (::fchmod(fd, mode) == 0) {
    return 0;
  }
  if (errno != EBADF) {
    return failed();
  }
  const UniqueFd opened = place != nullptr ? reopen(*place, status) : UniqueFd{};
  return !opened.valid() ? -EOPNOTSUPP : ::fchmod(opened.get(), mode) == 0 ? 0 : failed();
}

// By number: the C library makes it another call without flags.
abi::FileResult rename_at(const FileMounts::Parent& from, const FileMounts::Parent& to,
                          unsigned how) {
  return ::syscall(SYS_renameat2, from.folder.get(), from.name.c_str(), to.folder.get(),
                   to.name.c_str(), how) == 0
             ? 0
             : failed();
}

template <typename T> bool take(std::span<const std::byte> from, T& to) {
  if (from.size() != sizeof to) {
    return false;
  }
  std::memcpy(&to, from.data(), sizeof to);
  return true;
}

} // namespace

// ---- names and what is said of them ------------------------------------------------------------

abi::FileResult FileCalls::stat(const abi::FileCall& call) const {
  const int fd = fd_of(call.file);
  return fd < 0 ? -EBADF : put_file_stat(fd, buffer_of(call));
}

abi::FileResult FileCalls::stat_path(const abi::FileCall& call) const {
  std::string path;
  if (const abi::FileResult bad = path_of(call.path_gpa, call.path_bytes, path); bad != 0) {
    return bad;
  }
  const auto found =
      FileMounts::locate(mounts_.place_of(path), has(call, abi::file_no_follow) ? O_NOFOLLOW : 0U);
  return found ? put_file_stat(found->get(), buffer_of(call)) : -found.error();
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

abi::FileResult FileCalls::place_of(std::uint64_t gpa, std::uint64_t bytes,
                                    FileMounts::Place& place) const {
  std::string path;
  const abi::FileResult bad = path_of(gpa, bytes, path);
  if (bad == 0) {
    place = mounts_.place_of(path);
  }
  return bad;
}

// The folder that a name is in, which may be changed.
abi::FileResult FileCalls::folder_of(const FileMounts::Place& place, FileMounts::Parent& parent) {
  auto found = FileMounts::parent_of(place);
  if (!found) {
    return -found.error();
  }
  if (place.access != MountAccess::read_write) {
    return -EROFS;
  }
  parent = std::move(*found);
  return 0;
}

abi::FileResult FileCalls::name_of(std::uint64_t gpa, std::uint64_t bytes,
                                   FileMounts::Parent& parent) const {
  FileMounts::Place place;
  const abi::FileResult bad = place_of(gpa, bytes, place);
  return bad != 0 ? bad : folder_of(place, parent);
}

// Of the path and of the one in the buffer, which lie in the same directory of the host's.
abi::FileResult FileCalls::two_names(const abi::FileCall& call, FileMounts::Parent& from,
                                     FileMounts::Parent& to) const {
  FileMounts::Place first;
  FileMounts::Place second;
  if (const abi::FileResult bad = place_of(call.path_gpa, call.path_bytes, first); bad != 0) {
    return bad;
  }
  if (const abi::FileResult bad = place_of(call.buffer_gpa, call.buffer_bytes, second); bad != 0) {
    return bad;
  }
  if (first.directory != second.directory) {
    return -EXDEV;
  }
  const abi::FileResult bad = folder_of(first, from);
  return bad != 0 ? bad : folder_of(second, to);
}

abi::FileResult FileCalls::make_directory(const abi::FileCall& call) const {
  FileMounts::Parent parent;
  const abi::FileResult bad = name_of(call.path_gpa, call.path_bytes, parent);
  return bad != 0 ? bad : answer_of(::mkdirat(parent.folder.get(), parent.name.c_str(), call.mode));
}

abi::FileResult FileCalls::remove(const abi::FileCall& call) const {
  FileMounts::Parent parent;
  const abi::FileResult bad = name_of(call.path_gpa, call.path_bytes, parent);
  const int how = has(call, abi::file_directory) ? AT_REMOVEDIR : 0;
  return bad != 0 ? bad : answer_of(::unlinkat(parent.folder.get(), parent.name.c_str(), how));
}

abi::FileResult FileCalls::rename(const abi::FileCall& call) const {
  FileMounts::Parent from;
  FileMounts::Parent to;
  const unsigned how = (has(call, abi::file_exclusive) ? RENAME_NOREPLACE : 0U) |
                       (has(call, abi::file_exchange) ? RENAME_EXCHANGE : 0U);
  const abi::FileResult bad = two_names(call, from, to);
  return bad != 0 ? bad : rename_at(from, to, how);
}

// Of a symbolic link itself, not of what it leads to.
abi::FileResult FileCalls::link(const abi::FileCall& call) const {
  FileMounts::Parent from;
  FileMounts::Parent to;
  const abi::FileResult bad = two_names(call, from, to);
  return bad != 0 ? bad
                  : answer_of(::linkat(from.folder.get(), from.name.c_str(), to.folder.get(),
                                       to.name.c_str(), 0));
}

abi::FileResult FileCalls::make_link(const abi::FileCall& call) const {
  FileMounts::Parent parent;
  std::string text;
  if (const abi::FileResult bad = path_of(call.buffer_gpa, call.buffer_bytes, text); bad != 0) {
    return bad;
  }
  const abi::FileResult bad = name_of(call.path_gpa, call.path_bytes, parent);
  return bad != 0 ? bad
                  : answer_of(::symlinkat(text.c_str(), parent.folder.get(), parent.name.c_str()));
}

// By a descriptor, never by a name: those of the C library follow links out of the directory.
abi::FileResult FileCalls::set_attributes(const abi::FileCall& call) const {
  FileMounts::Or<UniqueFd> found;
  MountAccess access = MountAccess::read_only;
  int fd = -1;
  FileMounts::Place place;
  if (call.path_bytes != 0) {
    if (const abi::FileResult bad = place_of(call.path_gpa, call.path_bytes, place); bad != 0) {
      return bad;
    }
    found = FileMounts::locate(place, O_NOFOLLOW);
    if (!found) {
      return -found.error();
    }
    fd = found->get();
    access = place.access;
  } else {
    fd = opened_fd_of(call.file);
    access = fd < 0 ? access : files_[call.file].place;
  }
  if (fd < 0) {
    return -EBADF;
  }
  if (access != MountAccess::read_write) {
    return -EROFS;
  }
  abi::FileTimes times;
  abi::FileOwner owner;
  if (call.operation == abi::FileOperation::set_mode) {
    return set_mode(fd, call.path_bytes != 0 ? &place : nullptr, call.mode);
  }
  if (call.operation == abi::FileOperation::set_times && take(buffer_of(call), times)) {
    const std::array<timespec, 2> to{to_time(times.accessed_ns), to_time(times.modified_ns)};
    return answer_of(::utimensat(fd, "", to.data(), AT_EMPTY_PATH));
  }
  if (call.operation == abi::FileOperation::set_owner && take(buffer_of(call), owner)) {
    return answer_of(::fchownat(fd, "", owner.user, owner.group, AT_EMPTY_PATH));
  }
  return -EINVAL;
}

abi::FileResult FileCalls::space(const abi::FileCall& call) const {
  if (call.path_bytes == 0) {
    const int fd = opened_fd_of(call.file);
    return fd < 0 ? -EBADF : put_file_space(fd, buffer_of(call));
  }
  FileMounts::Place place;
  if (const abi::FileResult bad = place_of(call.path_gpa, call.path_bytes, place); bad != 0) {
    return bad;
  }
  const auto found = FileMounts::locate(place, O_NOFOLLOW);
  return found ? put_file_space(found->get(), buffer_of(call)) : -found.error();
}

} // namespace vmm
