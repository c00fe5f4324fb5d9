// SPDX-License-Identifier: MIT
// Calls on open files.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/linux/process.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t max_vectors = 1024;              // UIO_MAXIOV
constexpr std::uint64_t max_transfer_bytes = 0x7ffff000; // as Linux has it
constexpr std::uint64_t pipe_bytes = 65536;
// Which F_GETFL shows on x86-64, whatever the program asked for.
constexpr std::uint64_t large_file = 0100000;
constexpr std::uint64_t only_at_open =
    std::uint64_t{O_CREAT} | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

Answer answer_of(const Or<std::uint64_t>& result) {
  return result ? static_cast<Answer>(*result) : -Answer{result.error()};
}

Answer answer_of(const Or<int>& result) {
  return result ? Answer{*result} : -Answer{result.error()};
}

} // namespace

// ---- reading and writing -----------------------------------------------------------------------

Answer Process::read_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                          Offset offset) {
  const Or<std::span<std::byte>> to = room_at(address, std::min(bytes, max_transfer_bytes));
  if (!file.may_read()) {
    return -EBADF;
  }
  if (offset && file.file->is_stream()) {
    return -ESPIPE;
  }
  if (!to) {
    return -Answer{to.error()};
  }
  const bool patient = (file.open_flags & O_NONBLOCK) == 0;
  if (!patient && file.file->is_stream() && !to->empty()) {
    const Or<Readiness> is = file.file->wait(abi::file_readable, 0);
    if (is && *is == 0) {
      return -EAGAIN;
    }
  }
  const Or<std::uint64_t> got = file.file->read(offset.value_or(file.position), *to);
  if (got && !offset) {
    file.position += *got;
  }
  return answer_of(got);
}

Answer Process::write_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                           Offset offset) {
  const Or<std::span<const std::byte>> from = data_at(address, std::min(bytes, max_transfer_bytes));
  if (!file.may_write()) {
    return -EBADF;
  }
  if (offset && file.file->is_stream()) {
    return -ESPIPE;
  }
  return from ? write_bytes(file, *from, offset) : -Answer{from.error()};
}

// What is appended goes to the end even with an offset, as Linux does it.
Answer Process::write_bytes(OpenFile& file, std::span<const std::byte> from, Offset offset) {
  Or<std::uint64_t> put = 0;
  if ((file.open_flags & O_APPEND) != 0 && !file.file->is_stream()) {
    std::uint64_t end = 0;
    put = file.file->append(from, end);
    file.position = put && !offset ? end : file.position;
  } else {
    put = file.file->write(offset.value_or(file.position), from);
    file.position += put && !offset ? *put : 0;
  }
  if (!put && put.error() == EPIPE) {
    static_cast<void>(send_signal(process_id, SIGPIPE, SI_USER));
  }
  const bool waits_in_vain = !put && put.error() == EDEADLK;
  return waits_in_vain && (file.open_flags & O_NONBLOCK) != 0 ? -EAGAIN : answer_of(put);
}

Answer Process::sys_read(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  return file == nullptr ? -EBADF : read_file(*file, args[1], args[2], {});
}

Answer Process::sys_write(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  return file == nullptr ? -EBADF : write_file(*file, args[1], args[2], {});
}

Answer Process::sys_pread64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (static_cast<std::int64_t>(args[3]) < 0) {
    return -EINVAL;
  }
  return file == nullptr ? -EBADF : read_file(*file, args[1], args[2], args[3]);
}

Answer Process::sys_pwrite64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (static_cast<std::int64_t>(args[3]) < 0) {
    return -EINVAL;
  }
  return file == nullptr ? -EBADF : write_file(*file, args[1], args[2], args[3]);
}

// One part after the other, until one is not moved whole.
Answer Process::move_vector(const Args& args, Move move, Offset offset) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  if (args[2] > max_vectors || (offset && static_cast<std::int64_t>(*offset) < 0)) {
    return -EINVAL;
  }
  Answer total = 0;
  for (std::uint64_t index = 0; index < args[2]; ++index) {
    iovec part{};
    if (!fetch(args[1] + index * sizeof part, part)) {
      return total != 0 ? total : -EFAULT;
    }
    const Offset at = offset ? Offset(*offset + static_cast<std::uint64_t>(total)) : Offset{};
    const Answer moved =
        (this->*move)(*file, reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len, at);
    if (moved < 0) {
      return total != 0 ? total : moved;
    }
    total += moved;
    if (static_cast<std::uint64_t>(moved) < part.iov_len) {
      break;
    }
  }
  return total;
}

Answer Process::sys_readv(const Args& args) {
  return move_vector(args, &Process::read_file, {});
}
Answer Process::sys_writev(const Args& args) {
  return move_vector(args, &Process::write_file, {});
}
Answer Process::sys_preadv(const Args& args) {
  return move_vector(args, &Process::read_file, args[3]);
}
Answer Process::sys_pwritev(const Args& args) {
  return move_vector(args, &Process::write_file, args[3]);
}

// Of a descriptor; programs look by them whether one is a socket.
Answer Process::sys_no_socket(const Args& args) {
  return file_at(args[0]) == nullptr ? -EBADF : -ENOTSOCK;
}

Answer Process::sys_sendfile(const Args& args) {
  OpenFile* const to = file_at(args[0]);
  OpenFile* const from = file_at(args[1]);
  if (to == nullptr || from == nullptr || !to->may_write() || !from->may_read()) {
    return -EBADF;
  }
  std::uint64_t offset = from->position;
  if (args[2] != 0 && !fetch(args[2], offset)) {
    return -EFAULT;
  }
  if (from->file->is_stream() || from->file->is_folder() || (to->open_flags & O_APPEND) != 0 ||
      static_cast<std::int64_t>(offset) < 0) {
    return -EINVAL;
  }
  constexpr std::uint64_t piece_bytes = 65536;
  std::vector<std::byte> piece(piece_bytes);
  const std::uint64_t whole = std::min(args[3], max_transfer_bytes);
  std::uint64_t done = 0;
  Answer last = 0;
  while (done < whole) {
    const std::span<std::byte> part = std::span(piece).first(std::min(whole - done, piece_bytes));
    const Or<std::uint64_t> got = from->file->read(offset + done, part);
    last = answer_of(got);
    if (last > 0) {
      last = write_bytes(*to, part.first(*got), {});
    }
    if (last <= 0) {
      break;
    }
    done += static_cast<std::uint64_t>(last);
  }
  if (args[2] == 0) {
    from->position += done;
  } else if (!store(args[2], offset + done)) {
    return -EFAULT;
  }
  return done != 0 || last == 0 ? static_cast<Answer>(done) : last;
}

// ---- opening and closing -----------------------------------------------------------------------

// Takes over the file.
Answer Process::add_file(File* file, std::uint64_t flags, Text path) {
  const auto kept = static_cast<std::uint32_t>((flags & ~only_at_open) | large_file);
  const Or<int> descriptor =
      open_files_.add(std::make_unique<OpenFile>(file, kept, std::move(path)));
  if (descriptor) {
    open_files_.set_close_on_exec(static_cast<std::uint64_t>(*descriptor),
                                  (flags & O_CLOEXEC) != 0);
  }
  return answer_of(descriptor);
}

Or<File*> Process::open_place(const Place& place, std::uint64_t flags, std::uint32_t mode) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  const std::uint32_t rights = mode & 07777U & ~umask_;
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    if (!place.stat || !S_ISDIR(place.stat->mode) || !writes) {
      return std::unexpected(!place.stat ? place.stat.error() : writes ? ENOTDIR : EINVAL);
    }
    return place.system->create_unnamed(place.inner(), rights);
  }
  if (!place.stat) {
    if (place.stat.error() != ENOENT || (flags & O_CREAT) == 0) {
      return std::unexpected(place.stat.error());
    }
    return place.system->create(place.inner(), rights);
  }
  const bool folder = S_ISDIR(place.stat->mode);
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return std::unexpected(EEXIST);
  }
  if (S_ISLNK(place.stat->mode)) {
    return std::unexpected((flags & O_DIRECTORY) != 0 ? ENOTDIR : ELOOP);
  }
  if ((flags & O_DIRECTORY) != 0 && !folder) {
    return std::unexpected(ENOTDIR);
  }
  if (folder) {
    return writes || (flags & O_CREAT) != 0 ? Or<File*>(std::unexpected(EISDIR))
                                            : tree_.open_folder(place);
  }
  const bool cuts = (flags & O_TRUNC) != 0 && S_ISREG(place.stat->mode);
  const Or<File*> file = place.system->open(
      place.inner(), writes || cuts ? FileAccess::write : FileAccess::read, *place.stat);
  if (file && cuts) {
    if (const int error = (*file)->truncate(0); error != 0) {
      delete *file;
      return std::unexpected(error);
    }
  }
  return file;
}

Answer Process::open_path(std::uint64_t directory, std::uint64_t path, std::uint64_t flags,
                          std::uint64_t mode) {
  const bool exclusive = (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0;
  const Or<std::string_view> text = path_at(path);
  if (!text) {
    return -Answer{text.error()};
  }
  const bool makes_folder = (flags & O_CREAT) != 0 && text->ends_with('/');
  Or<Place> place = walk(directory, *text,
                         makes_folder                             ? Last::name
                         : exclusive || (flags & O_NOFOLLOW) != 0 ? Last::keep
                                                                  : Last::follow);
  if (!place || makes_folder) {
    return place ? -EISDIR : -Answer{place.error()};
  }
  if (place->descriptor) {
    const Or<int> copy = open_files_.duplicate(*place->descriptor, 0);
    if (copy) {
      open_files_.set_close_on_exec(static_cast<std::uint64_t>(*copy), (flags & O_CLOEXEC) != 0);
    }
    return copy ? Answer{*copy} : copy.error() == EBADF ? -ENOENT : -Answer{copy.error()};
  }
  const Or<File*> file = open_place(*place, flags, static_cast<std::uint32_t>(mode));
  const bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
  return file ? add_file(*file, flags, unnamed ? Text{} : to_text(place->whole()))
              : -Answer{file.error()};
}

Answer Process::sys_open(const Args& args) {
  return open_path(static_cast<std::uint64_t>(AT_FDCWD), args[0], args[1], args[2]);
}

Answer Process::sys_openat(const Args& args) {
  return open_path(args[0], args[1], args[2], args[3]);
}

Answer Process::sys_creat(const Args& args) {
  return open_path(static_cast<std::uint64_t>(AT_FDCWD), args[0],
                   std::uint64_t{O_CREAT} | O_WRONLY | O_TRUNC, args[1]);
}

Answer Process::sys_close(const Args& args) {
  return -Answer{open_files_.remove(args[0] & 0xffffffff)};
}

Answer Process::sys_dup(const Args& args) {
  return answer_of(open_files_.duplicate(args[0] & 0xffffffff, 0));
}

Answer Process::sys_dup3(const Args& args) {
  const std::uint64_t from = args[0] & 0xffffffff;
  const std::uint64_t to = args[1] & 0xffffffff;
  if (from == to || (args[2] & ~std::uint64_t{O_CLOEXEC}) != 0) {
    return -EINVAL;
  }
  if (open_files_.get(from) == nullptr || to >= OpenFiles::max_descriptors) {
    return -EBADF;
  }
  static_cast<void>(open_files_.remove(to));
  const Or<int> copy = open_files_.duplicate(from, to);
  if (copy) {
    open_files_.set_close_on_exec(to, args[2] != 0);
  }
  return answer_of(copy);
}

Answer Process::sys_dup2(const Args& args) {
  if ((args[0] & 0xffffffff) == (args[1] & 0xffffffff)) {
    return file_at(args[0]) == nullptr ? -EBADF : static_cast<Answer>(args[1]);
  }
  return sys_dup3({args[0], args[1], 0, 0, 0, 0});
}

// ---- flags and locks ---------------------------------------------------------------------------

Answer Process::sys_fcntl(const Args& args) {
  const std::uint64_t descriptor = args[0] & 0xffffffff;
  OpenFile* const file = open_files_.get(descriptor);
  if (file == nullptr) {
    return -EBADF;
  }
  switch (args[1]) {
  case F_DUPFD:
  case F_DUPFD_CLOEXEC: {
    const Or<int> copy = open_files_.duplicate(descriptor, args[2]);
    if (copy) {
      open_files_.set_close_on_exec(static_cast<std::uint64_t>(*copy), args[1] == F_DUPFD_CLOEXEC);
    }
    return answer_of(copy);
  }
  case F_GETFD:
    return open_files_.closes_on_exec(descriptor) ? FD_CLOEXEC : 0;
  case F_SETFD:
    open_files_.set_close_on_exec(descriptor, (args[2] & FD_CLOEXEC) != 0);
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
  case F_GETPIPE_SZ:
    return file->file->is_stream() ? Answer{pipe_bytes} : -EBADF;
  default:
    return -EINVAL;
  }
}

// Locks of ranges belong to the process, and there is one: nobody else has any.
Answer Process::lock_range(const OpenFile& file, std::uint64_t command, std::uint64_t address) {
  struct flock range {};
  if (!fetch(address, range)) {
    return -EFAULT;
  }
  if (range.l_type != F_RDLCK && range.l_type != F_WRLCK &&
      (range.l_type != F_UNLCK || command == F_GETLK)) {
    return -EINVAL;
  }
  if (command == F_GETLK) {
    range.l_type = F_UNLCK;
    return store(address, range) ? 0 : -EFAULT;
  }
  const bool may =
      range.l_type == F_UNLCK || (range.l_type == F_RDLCK ? file.may_read() : file.may_write());
  return may ? 0 : -EBADF;
}

// Between open files of this program; those who would wait for each other wait in vain.
Answer Process::sys_flock(const Args& args) {
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
  for (std::uint64_t descriptor = 0; own && descriptor < open_files_.end(); ++descriptor) {
    const OpenFile* const other = open_files_.get(descriptor);
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

// ---- positions and the rest --------------------------------------------------------------------

Answer Process::sys_lseek(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  if (file->file->is_stream()) {
    return -ESPIPE;
  }
  std::int64_t base = 0;
  const auto wanted = static_cast<std::int64_t>(args[1]);
  if (args[2] == SEEK_CUR) {
    base = static_cast<std::int64_t>(file->position);
  } else if (args[2] == SEEK_END || args[2] == SEEK_DATA || args[2] == SEEK_HOLE) {
    const Or<abi::FileStat> stat = file->file->stat();
    if (!stat) {
      return -Answer{stat.error()};
    }
    base = static_cast<std::int64_t>(stat->bytes);
    if (args[2] != SEEK_END) { // all of it is data
      if (wanted < 0 || wanted >= base) {
        return -ENXIO;
      }
      file->position = args[2] == SEEK_DATA ? args[1] : stat->bytes;
      return static_cast<Answer>(file->position);
    }
  } else if (args[2] != SEEK_SET) {
    return -EINVAL;
  }
  std::int64_t position = 0;
  if (__builtin_add_overflow(base, wanted, &position) || position < 0) {
    return -EINVAL;
  }
  file->position = static_cast<std::uint64_t>(position);
  return position;
}

Answer Process::sys_getdents64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  const Or<std::span<std::byte>> to =
      room_at(args[1], std::min<std::uint64_t>(args[2] & 0xffffffff, abi::file_transfer_bytes));
  return to ? answer_of(file->file->list(file->position, *to)) : -Answer{to.error()};
}

// Of terminals only what tells that there is none: output goes through the host's own.
Answer Process::sys_ioctl(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  switch (args[1]) {
  case FIOCLEX:
  case FIONCLEX:
    open_files_.set_close_on_exec(args[0] & 0xffffffff, args[1] == FIOCLEX);
    return 0;
  case FIONBIO: {
    std::uint32_t on = 0;
    if (!fetch(args[2], on)) {
      return -EFAULT;
    }
    file->open_flags = (file->open_flags & ~std::uint32_t{O_NONBLOCK}) |
                       (on != 0 ? std::uint32_t{O_NONBLOCK} : 0U);
    return 0;
  }
  default:
    return -ENOTTY;
  }
}

} // namespace guest::linux
