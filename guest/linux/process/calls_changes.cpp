// SPDX-License-Identifier: MIT
// Calls that change names, lengths and attributes of files. What may be changed, its file system
// says.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "guest/linux/process/file_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

constexpr std::int64_t us_per_second = 1'000'000;

// Nanoseconds since 1970, as near as they can be had: file systems have limits, too.
std::int64_t time_of_file(std::int64_t seconds, std::int64_t ns) {
  std::int64_t time = 0;
  if (__builtin_mul_overflow(seconds, signed_ns_per_second, &time) ||
      __builtin_add_overflow(time, ns, &time)) {
    return seconds < 0 ? abi::file_time_kept + 1 : INT64_MAX;
  }
  return std::max(time, abi::file_time_kept + 1);
}

// As Linux has it: "." and ".." are no names to make, move or remove.
enum class LastName : std::uint8_t { name, dot, dots };
LastName last_name(std::string_view path) {
  while (path.ends_with('/')) {
    path.remove_suffix(1);
  }
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name == "." ? LastName::dot : name == ".." ? LastName::dots : LastName::name;
}

} // namespace

// ---- names -------------------------------------------------------------------------------------

Answer FileCalls::sys_mkdirat(const Args& args) {
  const Or<Place> place = place_at(args[0], args[1], Last::name);
  if (!place) {
    return -Answer{place.error()};
  }
  if (place->stat) {
    return -EEXIST;
  }
  const auto mode = static_cast<std::uint32_t>(args[2]) & 01777U & ~self().umask;
  return -Answer{place->system->make_folder(place->inner(), mode)};
}

Answer FileCalls::sys_mkdir(const Args& args) {
  return sys_mkdirat({here, args[0], args[1], 0, 0, 0});
}

// No devices: nobody here may make them.
Answer FileCalls::sys_mknodat(const Args& args) {
  const std::uint64_t type = args[2] & S_IFMT;
  const bool is_device = type == S_IFCHR || type == S_IFBLK;
  const bool is_file = type == 0 || type == S_IFREG;
  if (!is_file && !is_device && type != S_IFIFO && type != S_IFSOCK) {
    return type == S_IFDIR ? -EPERM : -EINVAL;
  }
  const Or<Place> place = place_at(args[0], args[1], Last::name);
  if (!place || place->stat || place->slash) {
    return !place ? -Answer{place.error()} : place->stat ? -EEXIST : -ENOENT;
  }
  const auto mode = static_cast<std::uint32_t>(args[2]) & (S_IFMT | 07777U) & ~self().umask;
  if (is_file) {
    const Or<File*> made = place->system->create(place->inner(), mode);
    const std::unique_ptr<File> closed(made.value_or(nullptr));
    return made ? 0 : -Answer{made.error()};
  }
  const int error = place->system->make_special(place->inner(), mode);
  return is_device && error != EROFS ? -EPERM : -Answer{error};
}

Answer FileCalls::sys_mknod(const Args& args) {
  return sys_mknodat({here, args[0], args[1], args[2], 0, 0});
}

Answer FileCalls::sys_unlinkat(const Args& args) {
  if ((args[2] & ~std::uint64_t{AT_REMOVEDIR}) != 0) {
    return -EINVAL;
  }
  const NameKind kind = (args[2] & AT_REMOVEDIR) != 0 ? NameKind::folder : NameKind::file;
  const Or<std::string_view> text = user_.path_at(args[1]);
  const Or<Place> place = place_at(args[0], args[1], Last::name);
  if (!text || !place || !place->stat) {
    return -Answer{!text ? text.error() : !place ? place.error() : place->stat.error()};
  }
  const bool folder = S_ISDIR(place->stat->mode);
  if (!folder && place->slash) {
    return -ENOTDIR;
  }
  if (folder != (kind == NameKind::folder)) {
    return folder ? -EISDIR : -ENOTDIR;
  }
  if (folder && last_name(*text) != LastName::name) {
    return last_name(*text) == LastName::dot ? -EINVAL : -ENOTEMPTY;
  }
  if (tree_.is_busy(*place)) {
    return -EBUSY;
  }
  return -Answer{place->system->remove(place->inner(), kind)};
}

Answer FileCalls::sys_unlink(const Args& args) {
  return sys_unlinkat({here, args[0], 0, 0, 0, 0});
}
Answer FileCalls::sys_rmdir(const Args& args) {
  return sys_unlinkat({here, args[0], AT_REMOVEDIR, 0, 0, 0});
}

Answer FileCalls::sys_renameat2(const Args& args) {
  const auto [old_directory, old_path, new_directory, new_path, flags, unused] = args;
  if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) {
    return -EINVAL; // no file system here makes whiteouts
  }
  const Or<std::string_view> old_text = user_.path_at(old_path);
  const Or<std::string_view> new_text = user_.path_at(new_path);
  if (!old_text || !new_text) {
    return -Answer{old_text ? new_text.error() : old_text.error()};
  }
  const Or<Place> from = walk(old_directory, *old_text, Last::name);
  const Or<Place> to = walk(new_directory, *new_text, Last::name);
  if (!from || !to) {
    return -Answer{from ? to.error() : from.error()};
  }
  if (from->mount != to->mount) {
    return -EXDEV;
  }
  if (last_name(*old_text) != LastName::name) {
    return -EBUSY;
  }
  if (last_name(*new_text) != LastName::name) {
    return flags == RENAME_NOREPLACE ? -EEXIST : -EBUSY;
  }
  if (!from->stat) {
    return -Answer{from->stat.error()};
  }
  if (to->stat && flags == RENAME_NOREPLACE) {
    return -EEXIST;
  }
  if (!to->stat && flags == RENAME_EXCHANGE) {
    return -ENOENT;
  }
  const bool moves_folder = S_ISDIR(from->stat->mode);
  const bool swaps_file = flags == RENAME_EXCHANGE && !S_ISDIR(to->stat->mode);
  if ((!moves_folder && (from->slash || (to->slash && flags != RENAME_EXCHANGE))) ||
      (swaps_file && to->slash)) {
    return -ENOTDIR;
  }
  if (tree_.is_busy(*from) || tree_.is_busy(*to)) {
    return -EBUSY;
  }
  return -Answer{
      from->system->rename(from->inner(), to->inner(), static_cast<std::uint32_t>(flags))};
}

Answer FileCalls::sys_renameat(const Args& args) {
  return sys_renameat2({args[0], args[1], args[2], args[3], 0, 0});
}
Answer FileCalls::sys_rename(const Args& args) {
  return sys_renameat2({here, args[0], here, args[1], 0, 0});
}

Answer FileCalls::sys_linkat(const Args& args) {
  if ((args[4] & ~std::uint64_t{AT_SYMLINK_FOLLOW | AT_EMPTY_PATH}) != 0) {
    return -EINVAL;
  }
  const bool follows = (args[4] & AT_SYMLINK_FOLLOW) != 0;
  const Or<Place> from = place_at(args[0], args[1], follows ? Last::follow : Last::keep);
  if (!from || !from->stat) {
    return -Answer{from ? from->stat.error() : from.error()};
  }
  const Or<Place> to = place_at(args[2], args[3], Last::name);
  if (!to || to->stat || to->slash) {
    return !to ? -Answer{to.error()} : to->stat ? -EEXIST : -ENOENT;
  }
  if (from->mount != to->mount || from->descriptor) {
    return -EXDEV;
  }
  return S_ISDIR(from->stat->mode) ? -EPERM
                                   : -Answer{from->system->link(from->inner(), to->inner())};
}

Answer FileCalls::sys_link(const Args& args) {
  return sys_linkat({here, args[0], here, args[1], 0, 0});
}

Answer FileCalls::sys_symlinkat(const Args& args) {
  const Or<std::string_view> text = user_.path_at(args[0]);
  const Or<Place> place = place_at(args[1], args[2], Last::name);
  if (!text || !place) {
    return -Answer{text ? place.error() : text.error()};
  }
  if (text->empty() || (!place->stat && place->slash)) {
    return -ENOENT;
  }
  return place->stat ? -EEXIST : -Answer{place->system->make_link(place->inner(), *text)};
}

Answer FileCalls::sys_symlink(const Args& args) {
  return sys_symlinkat({args[0], here, args[1], 0, 0, 0});
}

// ---- lengths -----------------------------------------------------------------------------------

Answer FileCalls::sys_ftruncate(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  if (static_cast<std::int64_t>(args[1]) < 0 || !file->may_write()) {
    return -EINVAL;
  }
  return -Answer{file->file->truncate(args[1])};
}

Answer FileCalls::sys_truncate(const Args& args) {
  const Or<Place> place = place_at(here, args[0], Last::follow);
  if (!place || !place->stat) {
    return -Answer{place ? place->stat.error() : place.error()};
  }
  if (static_cast<std::int64_t>(args[1]) < 0) {
    return -EINVAL;
  }
  if (!S_ISREG(place->stat->mode)) {
    return S_ISDIR(place->stat->mode) ? -EISDIR : -EINVAL;
  }
  const Or<File*> file = open_place(*place, O_WRONLY, 0);
  if (!file) {
    return -Answer{file.error()};
  }
  const std::unique_ptr<File> owned(*file);
  return -Answer{owned->truncate(args[1])};
}

Answer FileCalls::sys_fallocate(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  if (static_cast<std::int64_t>(args[2]) < 0 || static_cast<std::int64_t>(args[3]) <= 0) {
    return -EINVAL;
  }
  if (!file->may_write()) {
    return -EBADF;
  }
  if (file->file->capacity()) {
    return -ESPIPE;
  }
  return -Answer{file->file->allocate(static_cast<std::uint32_t>(args[1]), args[2], args[3])};
}

// Also of what is on no disk: it is there as much as it ever will be.
Answer FileCalls::sys_fsync(const Args& args) {
  const OpenFile* const file = file_at(args[0]);
  return file == nullptr ? -EBADF : -Answer{file->file->sync()};
}

// A part is the whole here, and what has begun has ended.
Answer FileCalls::sys_sync_file_range(const Args& args) {
  constexpr std::uint64_t known =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto [descriptor, offset, bytes, flags, unused4, unused5] = args;
  const OpenFile* const file = file_at(descriptor);
  if (file == nullptr) {
    return -EBADF;
  }
  if ((flags & ~known) != 0 || static_cast<std::int64_t>(offset) < 0 ||
      static_cast<std::int64_t>(bytes) < 0 || static_cast<std::int64_t>(offset + bytes) < 0) {
    return -EINVAL;
  }
  if (file->file->is_stream()) {
    return -ESPIPE;
  }
  return flags == 0 ? 0 : -Answer{file->file->sync()};
}

// What is closed is with the host, which brings it to the disk in its own time.
Answer FileCalls::sys_sync(const Args& /*args*/) {
  for (std::uint64_t descriptor = 0; descriptor < self().files.end(); ++descriptor) {
    const OpenFile* const file = self().files.get(descriptor);
    if (file != nullptr && file->may_write() && !file->file->is_stream()) {
      static_cast<void>(file->file->sync());
    }
  }
  return 0;
}

Answer FileCalls::sys_syncfs(const Args& args) {
  return file_at(args[0]) == nullptr ? -EBADF : sys_sync(args);
}

// ---- attributes --------------------------------------------------------------------------------

template <typename AtFile, typename AtPlace>
Answer FileCalls::change(std::uint64_t directory, PathAddress path, std::uint64_t flags,
                         AtFile at_file, AtPlace at_place) {
  const Or<std::string_view> text = path ? user_.path_at(*path) : std::string_view{};
  if (!text) {
    return -Answer{text.error()};
  }
  const bool keeps = (flags & AT_SYMLINK_NOFOLLOW) != 0;
  std::uint64_t descriptor = directory;
  if (!text->empty()) {
    const Or<Place> place = walk(directory, *text, keeps ? Last::keep : Last::follow);
    if (!place) {
      return -Answer{place.error()};
    }
    if (!place->descriptor) {
      return place->stat ? -Answer{at_place(*place)} : -Answer{place->stat.error()};
    }
    descriptor = *place->descriptor;
  } else if (path && (flags & AT_EMPTY_PATH) == 0) {
    return -ENOENT;
  }
  const OpenFile* const file = file_at(descriptor);
  return file == nullptr ? -EBADF : -Answer{at_file(*file->file)};
}

Answer FileCalls::set_mode(std::uint64_t directory, PathAddress path, std::uint64_t mode) {
  const std::uint32_t rights = static_cast<std::uint32_t>(mode) & 07777U;
  return change(
      directory, path, 0, [rights](File& file) { return file.set_mode(rights); },
      [rights](const Place& place) { return place.system->set_mode(place.inner(), rights); });
}

Answer FileCalls::sys_chmod(const Args& args) {
  return set_mode(here, args[0], args[1]);
}
Answer FileCalls::sys_fchmodat(const Args& args) {
  return set_mode(args[0], args[1], args[2]);
}
Answer FileCalls::sys_fchmod(const Args& args) {
  return set_mode(args[0], {}, args[1]);
}

Answer FileCalls::sys_fchownat(const Args& args) {
  const auto [directory, path, user, group, flags, unused] = args;
  if ((flags & ~std::uint64_t{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH}) != 0) {
    return -EINVAL;
  }
  return set_owner(directory, path, flags,
                   {static_cast<std::uint32_t>(user), static_cast<std::uint32_t>(group)});
}

Answer FileCalls::set_owner(std::uint64_t directory, PathAddress path, std::uint64_t flags,
                            const abi::FileOwner& owner) {
  const auto is_own = [](std::uint32_t wanted, std::uint32_t own) {
    return wanted == abi::file_owner_kept || wanted == own;
  };
  if (!self().credentials.has(CAP_CHOWN) &&
      (!is_own(owner.user, self().credentials.ids(Credentials::Kind::user).files) ||
       !is_own(owner.group, self().credentials.ids(Credentials::Kind::group).files))) {
    return -EPERM;
  }
  return change(
      directory, path, flags, [&owner](File& file) { return file.set_owner(owner); },
      [&owner](const Place& place) { return place.system->set_owner(place.inner(), owner); });
}

Answer FileCalls::sys_chown(const Args& args) {
  return sys_fchownat({here, args[0], args[1], args[2], 0, 0});
}
Answer FileCalls::sys_lchown(const Args& args) {
  return sys_fchownat({here, args[0], args[1], args[2], AT_SYMLINK_NOFOLLOW, 0});
}
Answer FileCalls::sys_fchown(const Args& args) {
  return set_owner(args[0], {}, 0,
                   {static_cast<std::uint32_t>(args[1]), static_cast<std::uint32_t>(args[2])});
}

Answer FileCalls::set_times(std::uint64_t directory, PathAddress path, std::uint64_t flags,
                            const abi::FileTimes& times) {
  return change(
      directory, path, flags, [&times](File& file) { return file.set_times(times); },
      [&times](const Place& place) { return place.system->set_times(place.inner(), times); });
}

Answer FileCalls::sys_utimensat(const Args& args) {
  std::array<timespec, 2> wanted{timespec{0, UTIME_NOW}, timespec{0, UTIME_NOW}};
  if ((args[3] & ~std::uint64_t{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH}) != 0) {
    return -EINVAL;
  }
  if (args[2] != 0 && !user_.fetch(args[2], wanted)) {
    return -EFAULT;
  }
  std::array<std::int64_t, 2> times{};
  for (std::size_t index = 0; index < times.size(); ++index) {
    const timespec& time = wanted[index];
    if (time.tv_nsec != UTIME_NOW && time.tv_nsec != UTIME_OMIT &&
        (time.tv_nsec < 0 || time.tv_nsec >= signed_ns_per_second)) {
      return -EINVAL;
    }
    times[index] = time.tv_nsec == UTIME_NOW    ? abi::file_time_now
                   : time.tv_nsec == UTIME_OMIT ? abi::file_time_kept
                                                : time_of_file(time.tv_sec, time.tv_nsec);
  }
  const bool is_open = args[1] == 0 && static_cast<std::int32_t>(args[0]) != AT_FDCWD;
  return set_times(args[0], is_open ? PathAddress{} : args[1], args[3], {times[0], times[1]});
}

Answer FileCalls::sys_utimes(const Args& args) {
  std::array<timeval, 2> wanted{};
  if (args[1] == 0) {
    return set_times(here, args[0], 0, {abi::file_time_now, abi::file_time_now});
  }
  if (!user_.fetch(args[1], wanted)) {
    return -EFAULT;
  }
  if (std::ranges::any_of(wanted, [](const timeval& time) {
        return time.tv_usec < 0 || time.tv_usec >= us_per_second;
      })) {
    return -EINVAL;
  }
  const auto to_ns = [](const timeval& time) {
    return time_of_file(time.tv_sec, time.tv_usec * signed_ns_per_us);
  };
  return set_times(here, args[0], 0, {to_ns(wanted[0]), to_ns(wanted[1])});
}

Answer FileCalls::sys_utime(const Args& args) {
  utimbuf wanted{};
  if (args[1] == 0) {
    return set_times(here, args[0], 0, {abi::file_time_now, abi::file_time_now});
  }
  if (!user_.fetch(args[1], wanted)) {
    return -EFAULT;
  }
  return set_times(here, args[0], 0,
                   {time_of_file(wanted.actime, 0), time_of_file(wanted.modtime, 0)});
}

} // namespace guest::linux
