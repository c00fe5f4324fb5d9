// SPDX-License-Identifier: MIT
// Descriptors: opening, closing, copying them; flags and locks of the files behind them.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "guest/linux/process/file_calls.hpp"

namespace guest::linux {

namespace {

// Which F_GETFL shows on x86-64, whatever the program asked for.
constexpr std::uint64_t large_file = 0100000;

// A path of slashes and dots alone, or with dots at its end.
bool ends_in_no_name(std::string_view path) {
  while (path.ends_with('/')) {
    path.remove_suffix(1);
  }
  const std::string_view last = path.substr(path.rfind('/') + 1);
  return last.empty() || last == "." || last == "..";
}

} // namespace

// ---- opening and closing -----------------------------------------------------------------------

Answer FileCalls::open_path(std::uint64_t directory, std::uint64_t path, std::uint64_t flags,
                            std::uint64_t mode) {
  const bool exclusive = (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0;
  const Or<std::string_view> text = user_.path_at(path);
  if (!text) {
    return -Answer{text.error()};
  }
  const bool makes = (flags & O_CREAT) != 0;
  const bool makes_folder = makes && text->ends_with('/');
  Or<Place> place = walk(directory, *text,
                         makes_folder                             ? Last::name
                         : exclusive || (flags & O_NOFOLLOW) != 0 ? Last::keep
                         : makes                                  ? Last::make
                                                                  : Last::follow);
  if (!place) {
    return -Answer{place.error()};
  }
  if (makes && (makes_folder || place->slash)) {
    return exclusive && ends_in_no_name(*text) ? -EEXIST : -EISDIR;
  }
  if (place->descriptor) {
    const Or<int> copy = self().files.duplicate(*place->descriptor, 0);
    if (copy) {
      self().files.set_close_on_exec(static_cast<std::uint64_t>(*copy), (flags & O_CLOEXEC) != 0);
    }
    return copy ? Answer{*copy} : copy.error() == EBADF ? -ENOENT : -Answer{copy.error()};
  }
  const Or<File*> file = open_place(*place, flags, static_cast<std::uint32_t>(mode));
  const bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
  if (file && (flags & O_DIRECT) != 0) {
    (*file)->bypass_cache();
  }
  return file ? add_file(*file, flags | large_file, unnamed ? Text{} : to_text(place->whole()))
              : -Answer{file.error()};
}

Answer FileCalls::sys_open(const Args& args) {
  return open_path(here, args[0], args[1], args[2]);
}

Answer FileCalls::sys_openat(const Args& args) {
  return open_path(args[0], args[1], args[2], args[3]);
}

Answer FileCalls::sys_creat(const Args& args) {
  return open_path(here, args[0], std::uint64_t{O_CREAT} | O_WRONLY | O_TRUNC, args[1]);
}

Answer FileCalls::sys_close(const Args& args) {
  return -Answer{self().files.remove(args[0] & 0xffffffff)};
}

Answer FileCalls::sys_close_range(const Args& args) {
  constexpr std::uint64_t unshares = 2; // CLOSE_RANGE_UNSHARE: the table is nobody else's
  constexpr std::uint64_t on_exec = 4;  // CLOSE_RANGE_CLOEXEC
  if ((args[2] & ~(unshares | on_exec)) != 0 || args[0] > args[1]) {
    return -EINVAL;
  }
  const std::uint64_t end = std::min(args[1] + 1, self().files.end());
  for (std::uint64_t descriptor = args[0]; descriptor < end; ++descriptor) {
    if ((args[2] & on_exec) != 0) {
      self().files.set_close_on_exec(descriptor, true);
    } else {
      static_cast<void>(self().files.remove(descriptor));
    }
  }
  return 0;
}

Answer FileCalls::sys_dup(const Args& args) {
  return answer_of(self().files.duplicate(args[0] & 0xffffffff, 0));
}

Answer FileCalls::sys_dup3(const Args& args) {
  const std::uint64_t from = args[0] & 0xffffffff;
  const std::uint64_t to = args[1] & 0xffffffff;
  if (from == to || (args[2] & ~std::uint64_t{O_CLOEXEC}) != 0) {
    return -EINVAL;
  }
  if (self().files.get(from) == nullptr || to >= self().files.limit()) {
    return -EBADF;
  }
  static_cast<void>(self().files.remove(to));
  const Or<int> copy = self().files.duplicate(from, to);
  if (copy) {
    self().files.set_close_on_exec(to, args[2] != 0);
  }
  return answer_of(copy);
}

Answer FileCalls::sys_dup2(const Args& args) {
  if ((args[0] & 0xffffffff) == (args[1] & 0xffffffff)) {
    return file_at(args[0]) == nullptr ? -EBADF : static_cast<Answer>(args[1]);
  }
  return sys_dup3({args[0], args[1], 0, 0, 0, 0});
}

// ---- flags and locks ---------------------------------------------------------------------------

Answer FileCalls::sys_fcntl(const Args& args) {
  const std::uint64_t descriptor = args[0] & 0xffffffff;
  OpenFile* const file = self().files.get(descriptor);
  if (file == nullptr) {
    return -EBADF;
  }
  switch (args[1]) {
  case F_DUPFD:
  case F_DUPFD_CLOEXEC: {
    const Or<int> copy = self().files.duplicate(descriptor, args[2] & 0xffffffff);
    if (copy) {
      self().files.set_close_on_exec(static_cast<std::uint64_t>(*copy), args[1] == F_DUPFD_CLOEXEC);
    }
    return answer_of(copy);
  }
  case F_GETFD:
    return self().files.closes_on_exec(descriptor) ? FD_CLOEXEC : 0;
  case F_SETFD:
    self().files.set_close_on_exec(descriptor, (args[2] & FD_CLOEXEC) != 0);
    return 0;
  case F_GETFL:
    return file->open_flags;
  case F_SETFL: {
    constexpr std::uint32_t settable = O_APPEND | O_NONBLOCK;
    file->open_flags =
        (file->open_flags & ~settable) | (static_cast<std::uint32_t>(args[2]) & settable);
    return 0;
  }
  case F_GETLK:
  case F_SETLK:
  case F_SETLKW:
    return lock_range(*file, args[1], args[2]);
  case F_GET_SEALS:
    return answer_of(file->file->seals());
  case F_ADD_SEALS:
    return add_seals(*file, args[2] & 0xffffffff);
  case F_GETPIPE_SZ:
    return answer_of(file->file->capacity());
  case F_SETPIPE_SZ:
    return answer_of(file->file->set_capacity(args[2] & 0xffffffff));
  default:
    return -EINVAL;
  }
}

// What memory shows of it could be written to all the same.
Answer FileCalls::add_seals(const OpenFile& file, std::uint64_t seals) const {
  constexpr std::uint64_t executable = 0x20; // F_SEAL_EXEC
  constexpr std::uint64_t known = std::uint64_t{F_SEAL_SEAL} | F_SEAL_SHRINK | F_SEAL_GROW |
                                  F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | executable;
  if (!file.may_write()) {
    return -EPERM;
  }
  if ((seals & ~known) != 0) {
    return -EINVAL;
  }
  const Or<std::uint32_t> before = file.file->seals();
  const SharedPages* const pages = file.file->shared_pages();
  if (before && ((*before & F_SEAL_SEAL) == 0) && (seals & ~*before & F_SEAL_WRITE) != 0 &&
      pages != nullptr && mapped_.is_shared(*pages)) {
    return -EBUSY;
  }
  return -Answer{file.file->add_seals(static_cast<std::uint32_t>(seals))};
}

Answer FileCalls::sys_memfd_create(const Args& args) {
  constexpr std::uint64_t huge_pages = MFD_HUGETLB;
  constexpr std::uint64_t not_executable = 8; // MFD_NOEXEC_SEAL, MFD_EXEC
  constexpr std::uint64_t executable = 16;
  constexpr std::uint32_t seal_executable = 0x20; // F_SEAL_EXEC
  constexpr std::uint64_t known =
      MFD_CLOEXEC | MFD_ALLOW_SEALING | huge_pages | not_executable | executable;
  constexpr std::uint64_t longest_name = 249;
  const std::uint64_t flags = args[1];
  if ((flags & ~known) != 0 ||
      (flags & (not_executable | executable)) == (not_executable | executable)) {
    return -EINVAL;
  }
  const Or<std::string_view> name = user_.string_at(args[0], longest_name, EINVAL);
  if (!name) {
    return -Answer{name.error()};
  }
  if ((flags & huge_pages) != 0) {
    return -ENOMEM; // there are none
  }
  const bool stays_data = (flags & not_executable) != 0;
  const Or<File*> file = shared_.create_sealable(stays_data ? 0666 : 0777,
                                                 stays_data ? seal_executable
                                                 : (flags & MFD_ALLOW_SEALING) != 0 ? 0
                                                                                    : F_SEAL_SEAL);
  if (!file) {
    return -Answer{file.error()};
  }
  Text path = to_text("/memfd:");
  append(path, *name);
  append(path, " (deleted)");
  return add_file(*file, O_RDWR | large_file | ((flags & MFD_CLOEXEC) != 0 ? O_CLOEXEC : 0),
                  std::move(path));
}

// Locks of ranges belong to the process, and there is one: nobody else has any.
Answer FileCalls::lock_range(const OpenFile& file, std::uint64_t command, std::uint64_t address) {
  struct flock range {};
  if (!user_.fetch(address, range)) {
    return -EFAULT;
  }
  if (range.l_type != F_RDLCK && range.l_type != F_WRLCK &&
      (range.l_type != F_UNLCK || command == F_GETLK)) {
    return -EINVAL;
  }
  if (command == F_GETLK) {
    range.l_type = F_UNLCK;
    return user_.store(address, range) ? 0 : -EFAULT;
  }
  const bool may =
      range.l_type == F_UNLCK || (range.l_type == F_RDLCK ? file.may_read() : file.may_write());
  return may ? 0 : -EBADF;
}

// Between open files of this program; those who would wait for each other wait in vain.
Answer FileCalls::sys_flock(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  const std::uint64_t wish = args[1] & ~std::uint64_t{LOCK_NB};
  if (wish == LOCK_UN) {
    file->lock = OpenFile::Lock::none;
    return 0;
  }
  if (wish != LOCK_SH && wish != LOCK_EX) {
    return -EINVAL;
  }
  const Or<abi::FileStat> own = file->file->stat();
  for (std::uint64_t descriptor = 0; own && descriptor < self().files.end(); ++descriptor) {
    const OpenFile* const other = self().files.get(descriptor);
    if (other == nullptr || other == file || other->lock == OpenFile::Lock::none ||
        (wish == LOCK_SH && other->lock == OpenFile::Lock::shared)) {
      continue;
    }
    const Or<abi::FileStat> its = other->file->stat();
    if (its && its->device == own->device && its->inode == own->inode) {
      return (args[1] & LOCK_NB) != 0 ? -EWOULDBLOCK : -EDEADLK;
    }
  }
  file->lock = wish == LOCK_EX ? OpenFile::Lock::exclusive : OpenFile::Lock::shared;
  return 0;
}

} // namespace guest::linux
