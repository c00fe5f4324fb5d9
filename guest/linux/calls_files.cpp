// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/process.hpp"
#include "guest/linux/synthetic_files.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t max_vectors = 1024;              // UIO_MAXIOV
constexpr std::uint64_t max_transfer_bytes = 0x7ffff000; // as Linux has it
constexpr std::uint64_t stream_position = ~std::uint64_t{0};

void* pointer(std::uint64_t address) {
  return reinterpret_cast<void*>(address); // NOLINT(performance-no-int-to-ptr): the program's
}

bool is_host_file(const OpenFile& file) {
  return file.kind == FileKind::regular || file.kind == FileKind::directory;
}

} // namespace

// ---- reading and writing -----------------------------------------------------------------------

Answer Process::read_at(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                        std::uint64_t offset) {
  switch (file.kind) {
  case FileKind::directory:
    return -EISDIR;
  case FileKind::null:
    return 0;
  case FileKind::zero:
    std::memset(pointer(address), 0, bytes);
    return static_cast<Answer>(bytes);
  case FileKind::text: {
    const std::uint64_t left = offset < file.text.size() ? file.text.size() - offset : 0;
    const std::uint64_t got = std::min(left, bytes);
    std::memcpy(pointer(address), file.text.data() + (left == 0 ? 0 : offset), got);
    return static_cast<Answer>(got);
  }
  case FileKind::random:
  case FileKind::stream:
  case FileKind::regular:
    break;
  }
  const bool random = file.kind == FileKind::random;
  const std::uint64_t most = random ? abi::random_bytes : abi::file_transfer_bytes;
  std::uint64_t done = 0;
  while (done < bytes) {
    const std::uint64_t part = std::min(bytes - done, most);
    const Answer got =
        random ? file_call(abi::FileOperation::random, 0, 0, pointer(address + done), part)
               : file_call(abi::FileOperation::read, file.host_number,
                           file.kind == FileKind::stream ? stream_position : offset + done,
                           pointer(address + done), part);
    if (got < 0) {
      return done != 0 ? static_cast<Answer>(done) : got;
    }
    done += static_cast<std::uint64_t>(got);
    if (static_cast<std::uint64_t>(got) < part || file.kind == FileKind::stream) {
      break;
    }
  }
  return static_cast<Answer>(done);
}

Answer Process::read_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes) {
  bytes = std::min(bytes, max_transfer_bytes);
  if (!may_write(address, bytes)) {
    return -EFAULT;
  }
  const Answer got = read_at(file, address, bytes, file.position);
  if (got > 0 && (file.kind == FileKind::regular || file.kind == FileKind::text)) {
    file.position += static_cast<std::uint64_t>(got);
  }
  return got;
}

Answer Process::write_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes) {
  bytes = std::min(bytes, max_transfer_bytes);
  if (!may_read(address, bytes)) {
    return -EFAULT;
  }
  if (file.kind == FileKind::null || file.kind == FileKind::zero) {
    return static_cast<Answer>(bytes);
  }
  if (file.kind != FileKind::stream) {
    return -EBADF; // nothing else was opened for writing
  }
  std::uint64_t done = 0;
  while (done < bytes) {
    const std::uint64_t part = std::min(bytes - done, std::uint64_t{abi::file_transfer_bytes});
    const Answer got = file_call(abi::FileOperation::write, file.host_number, stream_position,
                                 pointer(address + done), part);
    if (got < 0) {
      if (got == -EPIPE) {
        const SignalAction& action = actions_[13];
        if (action.handler == 0 && (blocked_ & (std::uint64_t{1} << 12)) == 0) {
          end_by_signal(13); // SIGPIPE
        }
      }
      return done != 0 ? static_cast<Answer>(done) : got;
    }
    done += static_cast<std::uint64_t>(got);
  }
  return static_cast<Answer>(done);
}

Answer Process::sys_read(const Args& args) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  return file == nullptr ? -EBADF : read_file(*file, args[1], args[2]);
}

Answer Process::sys_write(const Args& args) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  return file == nullptr ? -EBADF : write_file(*file, args[1], args[2]);
}

Answer Process::sys_pread64(const Args& args) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  if (file == nullptr) {
    return -EBADF;
  }
  if (file->kind == FileKind::stream) {
    return -ESPIPE;
  }
  if (static_cast<std::int64_t>(args[3]) < 0) {
    return -EINVAL;
  }
  const std::uint64_t bytes = std::min(args[2], max_transfer_bytes);
  return may_write(args[1], bytes) ? read_at(*file, args[1], bytes, args[3]) : -EFAULT;
}

// One part after the other, until one is not moved whole.
Answer Process::move_vector(const Args& args, Move move) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  if (file == nullptr) {
    return -EBADF;
  }
  if (args[2] > max_vectors) {
    return -EINVAL;
  }
  Answer total = 0;
  for (std::uint64_t index = 0; index < args[2]; ++index) {
    iovec part{};
    if (!fetch(args[1] + index * sizeof part, part)) {
      return total != 0 ? total : -EFAULT;
    }
    const Answer moved =
        (this->*move)(*file, reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len);
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
  return move_vector(args, &Process::read_file);
}

Answer Process::sys_writev(const Args& args) {
  return move_vector(args, &Process::write_file);
}

// ---- opening and closing -----------------------------------------------------------------------

// Takes over the file.
Answer Process::add_file(OpenFile* file, std::uint64_t flags) {
  file->open_flags = static_cast<std::uint32_t>(flags & ~std::uint64_t{O_CLOEXEC});
  const Or<int> descriptor = open_files_.add(file);
  if (!descriptor) {
    if (is_host_file(*file)) {
      static_cast<void>(file_call(abi::FileOperation::close, file->host_number, 0, nullptr, 0));
    }
    delete file;
    return -Answer{descriptor.error()};
  }
  open_files_.set_close_on_exec(static_cast<std::uint64_t>(*descriptor), (flags & O_CLOEXEC) != 0);
  return *descriptor;
}

Answer Process::open_path(std::uint64_t directory, std::uint64_t path, std::uint64_t flags) {
  const Or<std::string_view> text = path_at(path);
  if (!text) {
    return -Answer{text.error()};
  }
  Or<std::vector<char>> full = full_path(directory, *text);
  if (!full) {
    return -Answer{full.error()};
  }
  const std::string_view whole(full->data(), full->size());
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (OpenFile* const synthetic = open_synthetic(whole, {.program = program_path_,
                                                         .ram_bytes = machine_.ram_bytes(),
                                                         .free_bytes = machine_.free_bytes(),
                                                         .memory = &memory_})) {
    if (writes && synthetic->kind == FileKind::text) {
      delete synthetic;
      return -EACCES;
    }
    synthetic->path = std::move(*full);
    return add_file(synthetic, flags);
  }
  if (is_synthetic_place(whole)) {
    return (flags & O_CREAT) != 0 ? -EACCES : -ENOENT;
  }
  if (writes || (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
    // All that there is can only be read. What is not there cannot be made; else it is as Linux
    // says of such a file system.
    const Or<abi::FileStat> there = stat_of_path(whole, 0);
    if (!there && (flags & O_CREAT) == 0) {
      return -Answer{there.error()};
    }
    return there && (there->mode & S_IFMT) == S_IFDIR ? -EISDIR : -EROFS;
  }
  std::uint32_t how = 0;
  how |= (flags & O_NOFOLLOW) != 0 ? abi::file_no_follow : 0U;
  how |= (flags & O_DIRECTORY) != 0 ? abi::file_directory : 0U;
  const Answer number = path_call(abi::FileOperation::open, whole, how, nullptr, 0);
  if (number < 0) {
    return number;
  }
  auto* const file = new OpenFile;
  file->kind = FileKind::regular;
  file->host_number = static_cast<std::uint32_t>(number);
  file->path = std::move(*full);
  const Or<abi::FileStat> stat = stat_of_file(*file);
  if (stat && (stat->mode & S_IFMT) == S_IFDIR) {
    file->kind = FileKind::directory;
  }
  return add_file(file, flags);
}

Answer Process::sys_open(const Args& args) {
  return open_path(static_cast<std::uint64_t>(AT_FDCWD), args[0], args[1]);
}

Answer Process::sys_openat(const Args& args) {
  return open_path(args[0], args[1], args[2]);
}

Answer Process::drop(std::uint64_t descriptor) {
  const Or<OpenFile*> last = open_files_.remove(descriptor);
  if (!last) {
    return -Answer{last.error()};
  }
  if (*last != nullptr) {
    if (is_host_file(**last)) {
      static_cast<void>(file_call(abi::FileOperation::close, (*last)->host_number, 0, nullptr, 0));
    }
    delete *last;
  }
  return 0;
}

Answer Process::sys_close(const Args& args) {
  return drop(args[0] & 0xffffffff);
}

Answer Process::sys_dup(const Args& args) {
  const Or<int> copy = open_files_.duplicate(args[0] & 0xffffffff, 0);
  return copy ? *copy : -Answer{copy.error()};
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
  static_cast<void>(drop(to));
  const Or<int> copy = open_files_.duplicate(from, to);
  if (copy) {
    open_files_.set_close_on_exec(to, args[2] != 0);
  }
  return copy ? *copy : -Answer{copy.error()};
}

Answer Process::sys_dup2(const Args& args) {
  if ((args[0] & 0xffffffff) == (args[1] & 0xffffffff)) {
    return open_files_.get(args[0] & 0xffffffff) == nullptr ? -EBADF : static_cast<Answer>(args[1]);
  }
  return sys_dup3({args[0], args[1], 0, 0, 0, 0});
}

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
    if (!copy) {
      return -Answer{copy.error()};
    }
    open_files_.set_close_on_exec(static_cast<std::uint64_t>(*copy), args[1] == F_DUPFD_CLOEXEC);
    return *copy;
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
  default:
    return -EINVAL;
  }
}

// ---- positions and the rest --------------------------------------------------------------------

Answer Process::sys_lseek(const Args& args) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  if (file == nullptr) {
    return -EBADF;
  }
  if (file->kind == FileKind::stream) {
    return -ESPIPE;
  }
  auto base = std::int64_t{0};
  if (args[2] == SEEK_CUR) {
    base = static_cast<std::int64_t>(file->position);
  } else if (args[2] == SEEK_END) {
    const Or<abi::FileStat> stat = stat_of_file(*file);
    if (!stat) {
      return -Answer{stat.error()};
    }
    base = static_cast<std::int64_t>(stat->bytes);
  } else if (args[2] != SEEK_SET) {
    return -EINVAL;
  }
  std::int64_t position = 0;
  if (__builtin_add_overflow(base, static_cast<std::int64_t>(args[1]), &position) || position < 0) {
    return -EINVAL;
  }
  if (file->kind == FileKind::directory) {
    const Answer moved = file_call(abi::FileOperation::seek_list, file->host_number,
                                   static_cast<std::uint64_t>(position), nullptr, 0);
    if (moved < 0) {
      return moved;
    }
  }
  file->position = static_cast<std::uint64_t>(position);
  return position;
}

Answer Process::sys_getdents64(const Args& args) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  if (file == nullptr) {
    return -EBADF;
  }
  if (file->kind != FileKind::directory) {
    return -ENOTDIR;
  }
  const std::uint64_t bytes = std::min(args[2], std::uint64_t{abi::file_transfer_bytes});
  if (!may_write(args[1], bytes)) {
    return -EFAULT;
  }
  return file_call(abi::FileOperation::list, file->host_number, 0, pointer(args[1]), bytes);
}

// Of terminals only what tells that there is none: output goes through the host's own.
Answer Process::sys_ioctl(const Args& args) {
  OpenFile* const file = open_files_.get(args[0] & 0xffffffff);
  if (file == nullptr) {
    return -EBADF;
  }
  switch (args[1]) {
  case FIOCLEX:
  case FIONCLEX:
    open_files_.set_close_on_exec(args[0] & 0xffffffff, args[1] == FIOCLEX);
    return 0;
  default:
    return -ENOTTY;
  }
}

// What there is never makes anybody wait, as far as is known here: a stream may, when it is read.
Answer Process::sys_poll(const Args& args) {
  constexpr std::uint64_t most = OpenFiles::max_descriptors;
  if (args[1] > most) {
    return -EINVAL;
  }
  Answer ready = 0;
  for (std::uint64_t index = 0; index < args[1]; ++index) {
    pollfd entry{};
    const std::uint64_t at = args[0] + index * sizeof entry;
    if (!fetch(at, entry)) {
      return -EFAULT;
    }
    entry.revents = 0;
    if (entry.fd >= 0) {
      const bool open = open_files_.get(static_cast<std::uint64_t>(entry.fd)) != nullptr;
      entry.revents = static_cast<short>(open ? entry.events & (POLLIN | POLLOUT) : POLLNVAL);
    }
    ready += entry.revents != 0 ? 1 : 0;
    if (!store(at, entry)) {
      return -EFAULT;
    }
  }
  if (ready == 0 && static_cast<std::int32_t>(args[2]) > 0) {
    machine_.sleep_until_ns(machine_.now_ns() + args[2] * 1'000'000);
  }
  return ready;
}

} // namespace guest::linux
