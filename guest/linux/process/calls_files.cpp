// SPDX-License-Identifier: MIT
// Calls on open files.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "guest/linux/process/file_calls.hpp"

namespace guest::linux {

namespace {

// Of a file it is what lies behind the position.
Or<std::uint64_t> readable_bytes(const OpenFile& file) {
  if (file.file->is_stream()) {
    return file.file->readable_bytes();
  }
  const Or<abi::FileStat> stat = file.file->stat();
  if (!stat || !S_ISREG(stat->mode)) {
    return std::unexpected(stat ? ENOTTY : stat.error());
  }
  return stat->bytes > file.position ? stat->bytes - file.position : 0;
}

} // namespace

// ---- reading and writing -----------------------------------------------------------------------

Answer FileCalls::read_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                            Offset offset) {
  Or<std::span<std::byte>> to = user_.room_from(address, bytes);
  if (offset && file.file->is_stream()) {
    return -ESPIPE;
  }
  if (!file.may_read()) {
    return -EBADF;
  }
  for (;;) {
    if (!to) {
      return -Answer{to.error()};
    }
    const Or<std::uint64_t> got = file.file->read(offset.value_or(file.position), *to);
    if (got || got.error() != EAGAIN || (file.open_flags & O_NONBLOCK) != 0) {
      file.position += got && !offset ? *got : 0;
      return answer_of(got);
    }
    const std::uint64_t timeout_ns = patience_ns(file);
    if (const Answer failed = wait_for_stream(file, abi::file_readable, timeout_ns); failed != 0) {
      return failed;
    }
    to = user_.room_from(address, bytes); // another thread may have unmapped it meanwhile
    if (timeout_ns != wait_for_ever && file.file->ready_for(abi::file_readable) == Readiness{0}) {
      return 0;
    }
  }
}

Answer FileCalls::write_file(OpenFile& file, std::uint64_t address, std::uint64_t bytes,
                             Offset offset) {
  const Or<std::span<const std::byte>> from = user_.data_from(address, bytes);
  if (offset && file.file->is_stream()) {
    return -ESPIPE;
  }
  if (!file.may_write()) {
    return -EBADF;
  }
  return from ? write_bytes(file, *from, offset, BytesOf::program) : -Answer{from.error()};
}

Answer FileCalls::sys_read(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  return file == nullptr ? -EBADF : read_file(*file, args[1], args[2], {});
}

Answer FileCalls::sys_write(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  return file == nullptr ? -EBADF : write_file(*file, args[1], args[2], {});
}

Answer FileCalls::sys_pread64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (static_cast<std::int64_t>(args[3]) < 0) {
    return -EINVAL;
  }
  return file == nullptr ? -EBADF : read_file(*file, args[1], args[2], args[3]);
}

Answer FileCalls::sys_pwrite64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (static_cast<std::int64_t>(args[3]) < 0) {
    return -EINVAL;
  }
  return file == nullptr ? -EBADF : write_file(*file, args[1], args[2], args[3]);
}

// One part after the other, until one is not moved whole.
Answer FileCalls::move_vector(const Args& args, Move move, Offset offset) {
  OpenFile* const file = file_at(args[0]);
  if (offset && static_cast<std::int64_t>(*offset) < 0) {
    return -EINVAL;
  }
  if (file == nullptr) {
    return -EBADF;
  }
  if (offset && file->file->is_stream()) {
    return -ESPIPE;
  }
  if (move == &FileCalls::read_file ? !file->may_read() : !file->may_write()) {
    return -EBADF;
  }
  const Or<std::vector<iovec>> parts = user_.vectors_at(args[1], args[2]);
  if (!parts) {
    return -Answer{parts.error()};
  }
  if (file->file->socket() != nullptr) { // one message
    const std::shared_ptr<OpenFile> kept = self().files.share(args[0] & 0xffffffff);
    if (move == &FileCalls::write_file) {
      return send_parts(*kept, *parts, {});
    }
    const bool is_nothing =
        std::ranges::all_of(*parts, [](const iovec& part) { return part.iov_len == 0; });
    const Or<Socket::Received> got =
        is_nothing ? Socket::Received{} : receive_parts(*kept, *parts, 0);
    return got ? static_cast<Answer>(got->bytes) : -Answer{got.error()};
  }
  Answer total = 0;
  for (const iovec& part : *parts) {
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

Answer FileCalls::sys_readv(const Args& args) {
  return move_vector(args, &FileCalls::read_file, {});
}
Answer FileCalls::sys_writev(const Args& args) {
  return move_vector(args, &FileCalls::write_file, {});
}
Answer FileCalls::sys_preadv(const Args& args) {
  return move_vector(args, &FileCalls::read_file, args[3]);
}
Answer FileCalls::sys_pwritev(const Args& args) {
  return move_vector(args, &FileCalls::write_file, args[3]);
}

// No offset is where the file is. Linux takes them in two halves, of which the upper one has
// nothing left for 64 bits.
Answer FileCalls::move_vector_by(const Args& args, Move move) {
  constexpr std::uint64_t high_priority = 1; // RWF_HIPRI
  constexpr std::uint64_t syncs = 2 | 4;     // RWF_DSYNC, RWF_SYNC
  const auto [descriptor, vectors, count, offset, upper, flags] = args;
  if ((flags & ~(high_priority | syncs)) != 0) {
    return -EOPNOTSUPP;
  }
  const Answer moved =
      move_vector(args, move, offset == ~std::uint64_t{0} ? Offset{} : Offset(offset));
  const bool is_written = move == &FileCalls::write_file && moved > 0 && (flags & syncs) != 0;
  const int error = is_written ? file_at(descriptor)->file->sync() : 0;
  return error != 0 && error != EINVAL ? -Answer{error} : moved; // a stream's is not kept here
}

Answer FileCalls::sys_preadv2(const Args& args) {
  return move_vector_by(args, &FileCalls::read_file);
}
Answer FileCalls::sys_pwritev2(const Args& args) {
  return move_vector_by(args, &FileCalls::write_file);
}

// ---- advice ------------------------------------------------------------------------------------

Answer FileCalls::sys_readahead(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr || !file->may_read()) {
    return -EBADF;
  }
  return file->file->is_stream() || !file->file->is_mappable() ? -EINVAL : 0;
}

// The host reads ahead by itself.
Answer FileCalls::sys_fadvise64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr || (file->open_flags & O_PATH) != 0) {
    return -EBADF;
  }
  if (file->file->capacity()) {
    return -ESPIPE;
  }
  return static_cast<std::int64_t>(args[2]) < 0 || args[3] > POSIX_FADV_NOREUSE ? -EINVAL : 0;
}

// ---- positions and the rest --------------------------------------------------------------------

Answer FileCalls::sys_lseek(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  if (file->file->is_stream()) {
    return args[2] > SEEK_END ? -EINVAL
                              : answer_of(file->file->seek(static_cast<std::int64_t>(args[1]),
                                                           static_cast<std::uint32_t>(args[2])));
  }
  std::int64_t base = 0;
  const auto wanted = static_cast<std::int64_t>(args[1]);
  if (args[2] == SEEK_CUR) {
    base = static_cast<std::int64_t>(file->position);
  } else if (args[2] == SEEK_END || args[2] == SEEK_DATA || args[2] == SEEK_HOLE) {
    const Or<std::uint64_t> bytes = file->file->bytes();
    if (!bytes) {
      return -Answer{bytes.error()};
    }
    base = static_cast<std::int64_t>(*bytes);
    if (args[2] != SEEK_END) { // all of it is data
      if (wanted < 0 || wanted >= base) {
        return -ENXIO;
      }
      file->position = args[2] == SEEK_DATA ? args[1] : *bytes;
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

Answer FileCalls::sys_getdents64(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  const Or<std::span<std::byte>> to = user_.room_at(
      args[1], std::min<std::uint64_t>(args[2] & 0xffffffff, abi::file_transfer_bytes));
  return to ? answer_of(file->file->list(file->position, *to)) : -Answer{to.error()};
}

Answer FileCalls::sys_ioctl(const Args& args) {
  OpenFile* const file = file_at(args[0]);
  if (file == nullptr) {
    return -EBADF;
  }
  switch (args[1]) {
  case FIOCLEX:
  case FIONCLEX:
    self().files.set_close_on_exec(args[0] & 0xffffffff, args[1] == FIOCLEX);
    return 0;
  case FIONBIO: {
    std::uint32_t on = 0;
    if (!user_.fetch(args[2], on)) {
      return -EFAULT;
    }
    file->open_flags = (file->open_flags & ~std::uint32_t{O_NONBLOCK}) |
                       (on != 0 ? std::uint32_t{O_NONBLOCK} : 0U);
    return 0;
  }
  case FIONREAD: {
    const Or<std::uint64_t> bytes = readable_bytes(*file);
    if (!bytes) {
      return -Answer{bytes.error()};
    }
    return user_.store(args[2], static_cast<std::int32_t>(*bytes)) ? 0 : -EFAULT;
  }
  default: {
    Terminal* const terminal = file->file->terminal();
    return terminal == nullptr ? -ENOTTY : control_terminal(*terminal, args[1], args[2]);
  }
  }
}

} // namespace guest::linux
