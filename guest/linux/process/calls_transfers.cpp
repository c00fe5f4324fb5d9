// SPDX-License-Identifier: MIT
// What goes from one file to another without the program's memory: sendfile, copy_file_range,
// splice, tee.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "guest/linux/process/file_calls.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t piece_bytes = 65536;
constexpr std::uint64_t splice_flags =
    SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

// What was copied, and what was said of the piece behind it.
struct Copied {
  std::uint64_t bytes = 0;
  Answer last = 0;
};
// Up to `bytes` of what `from` has at an offset, piece after piece: put(piece, offset in all of it)
// answers as write() does. Ends with the file, or when a piece is not taken.
template <typename Put>
Copied copy_pieces(const OpenFile& from, std::uint64_t offset, std::uint64_t bytes, Put put) {
  std::vector<std::byte> room(std::min(bytes, piece_bytes));
  Copied copied;
  while (copied.bytes < bytes) {
    const std::span<std::byte> part =
        std::span(room).first(std::min(bytes - copied.bytes, piece_bytes));
    const Or<std::uint64_t> got = from.file->read(offset + copied.bytes, part);
    copied.last = answer_of(got);
    if (copied.last > 0) {
      copied.last = put(part.first(*got), copied.bytes);
    }
    if (copied.last <= 0) {
      break;
    }
    copied.bytes += static_cast<std::uint64_t>(copied.last);
  }
  return copied;
}

// Where a transfer begins: at the offset that `address` names, or where the file is. EFAULT.
Or<std::uint64_t> transfer_offset(const UserMemory& user, const OpenFile& file,
                                  std::uint64_t address) {
  std::uint64_t offset = file.position;
  if (address != 0 && !user.fetch(address, offset)) {
    return std::unexpected(EFAULT);
  }
  return offset;
}

// Behind one, which ends at `offset`. False: it cannot be told there.
bool end_transfer(const UserMemory& user, OpenFile& file, std::uint64_t address,
                  std::uint64_t offset) {
  if (address != 0) {
    return user.store(address, offset);
  }
  file.position = offset;
  return true;
}

// A piece of what `from` has: of a stream without waiting, and without taking it where it can be
// left there.
Or<std::uint64_t> look_at(const OpenFile& from, std::uint64_t offset, std::span<std::byte> piece) {
  if (!from.file->is_stream()) {
    return from.file->read(offset, piece);
  }
  const Or<std::uint64_t> got = from.file->peek(piece);
  return got || got.error() != EINVAL ? got : from.file->read(0, piece);
}

bool is_same_pipe(const OpenFile& one, const OpenFile& other) {
  const Or<abi::FileStat> its = one.file->stat();
  const Or<abi::FileStat> others = other.file->stat();
  return its && others && its->device == others->device && its->inode == others->inode;
}

} // namespace

Answer FileCalls::sys_sendfile(const Args& args) {
  OpenFile* const to = held_file_at(args[0]);
  OpenFile* const from = held_file_at(args[1]);
  if (to == nullptr || from == nullptr || !to->may_write() || !from->may_read()) {
    return -EBADF;
  }
  std::uint64_t offset = from->position;
  if (args[2] != 0 && !user_.fetch(args[2], offset)) {
    return -EFAULT;
  }
  if (from->file->is_stream() && args[2] != 0) {
    return -ESPIPE;
  }
  if (from->file->is_stream() || from->file->is_folder() || (to->open_flags & O_APPEND) != 0 ||
      static_cast<std::int64_t>(offset) < 0 || static_cast<std::int64_t>(args[3]) < 0) {
    return -EINVAL;
  }
  const auto [done, last] =
      copy_pieces(*from, offset, std::min(args[3], UserMemory::max_transfer_bytes),
                  [&](std::span<const std::byte> piece, std::uint64_t /*done*/) {
                    return write_bytes(*to, piece, {}, BytesOf::kernel);
                  });
  if (args[2] == 0) {
    from->position += done;
  } else if (!user_.store(args[2], offset + done)) {
    return -EFAULT;
  }
  return done != 0 || last == 0 ? static_cast<Answer>(done) : last;
}

// ---- between files -----------------------------------------------------------------------------

Answer FileCalls::sys_copy_file_range(const Args& args) {
  const auto [from_descriptor, from_address, to_descriptor, to_address, bytes, flags] = args;
  OpenFile* const from = held_file_at(from_descriptor);
  OpenFile* const to = held_file_at(to_descriptor);
  if (from == nullptr || to == nullptr) {
    return -EBADF;
  }
  const Or<std::uint64_t> from_offset = transfer_offset(user_, *from, from_address);
  const Or<std::uint64_t> to_offset = transfer_offset(user_, *to, to_address);
  if (!from_offset || !to_offset) {
    return -EFAULT;
  }
  if (flags != 0) {
    return -EINVAL;
  }
  const Or<abi::FileStat> its = from->file->stat();
  const Or<abi::FileStat> others = to->file->stat();
  if (!its || !others) {
    return -Answer{its ? others.error() : its.error()};
  }
  if (S_ISDIR(its->mode) || S_ISDIR(others->mode)) {
    return -EISDIR;
  }
  if (!S_ISREG(its->mode) || !S_ISREG(others->mode)) {
    return -EINVAL;
  }
  if (!from->may_read() || !to->may_write() || (to->open_flags & O_APPEND) != 0) {
    return -EBADF;
  }
  const std::uint64_t left = its->bytes > *from_offset ? its->bytes - *from_offset : 0;
  const std::uint64_t whole = std::min({bytes, left, UserMemory::max_transfer_bytes});
  const auto most = static_cast<std::uint64_t>(INT64_MAX);
  if (*from_offset > most || *to_offset > most || bytes > most - *from_offset ||
      bytes > most - *to_offset) {
    return static_cast<std::int64_t>(*from_offset | *to_offset) < 0 ? -EINVAL : -EOVERFLOW;
  }
  const bool is_same = its->device == others->device && its->inode == others->inode;
  if (is_same && *from_offset < *to_offset + whole && *to_offset < *from_offset + whole) {
    return -EINVAL;
  }
  const auto [done, last] = copy_pieces(
      *from, *from_offset, whole, [&](std::span<const std::byte> piece, std::uint64_t behind) {
        return answer_of(to->file->write(*to_offset + behind, piece));
      });
  if (!end_transfer(user_, *from, from_address, *from_offset + done) ||
      !end_transfer(user_, *to, to_address, *to_offset + done)) {
    return -EFAULT;
  }
  return done != 0 ? static_cast<Answer>(done) : last;
}

// ---- with pipes --------------------------------------------------------------------------------

// Moves one piece, or copies it (tee); waits for it, and for room, where that is wanted.
Answer FileCalls::move_piece(OpenFile& from, std::uint64_t from_offset, OpenFile& to,
                             std::uint64_t to_offset, std::uint64_t bytes, Piece what) {
  std::vector<std::byte> room(std::min(bytes, piece_bytes));
  std::span<const std::byte> piece;
  const auto waits = [&](const OpenFile& file) {
    return (what.flags & SPLICE_F_NONBLOCK) == 0 && (file.open_flags & O_NONBLOCK) == 0;
  };
  const bool can_be_left = from.file->is_stream() && from.file->peek({}).has_value();
  for (;;) {
    if (piece.empty() || can_be_left) {
      const Or<std::uint64_t> got = look_at(from, from_offset, room);
      if (!got && got.error() == EAGAIN && waits(from)) {
        if (const Answer failed = wait_for_stream(from, abi::file_readable, wait_for_ever);
            failed != 0) {
          return failed;
        }
        continue;
      }
      if (!got || *got == 0) {
        return answer_of(got);
      }
      piece = std::span(room).first(*got);
    }
    const Or<std::uint64_t> put = to.file->write(to_offset, piece);
    if (put) {
      if (can_be_left && what.taking == Taking::yes) {
        static_cast<void>(from.file->read(0, std::span(room).first(*put)));
      }
      return static_cast<Answer>(*put);
    }
    if (to.file->is_stream()) {
      signal_failed_write(to, put.error());
    }
    if (put.error() != EAGAIN || !waits(to)) {
      return -Answer{put.error()};
    }
    if (const Answer failed = wait_for_stream(to, abi::file_writable, wait_for_ever); failed != 0) {
      return failed;
    }
  }
}

Or<FileCalls::Ends> FileCalls::splice_ends(std::uint64_t from, std::uint64_t to,
                                           std::uint64_t bytes, std::uint64_t flags) {
  if ((flags & ~splice_flags) != 0) {
    return std::unexpected(EINVAL);
  }
  if (bytes == 0) {
    return Ends{};
  }
  const Ends ends{.from = held_file_at(from), .to = held_file_at(to)};
  return ends.from == nullptr || ends.to == nullptr ? Or<Ends>(std::unexpected(EBADF)) : ends;
}

Answer FileCalls::sys_splice(const Args& args) {
  const auto [from_descriptor, from_address, to_descriptor, to_address, bytes, flags] = args;
  const Or<Ends> ends = splice_ends(from_descriptor, to_descriptor, bytes, flags);
  if (!ends || ends->from == nullptr) {
    return ends ? 0 : -Answer{ends.error()};
  }
  const auto [from, to] = *ends;
  const bool from_pipe = from->file->capacity().has_value();
  const bool to_pipe = to->file->capacity().has_value();
  if ((from_pipe && from_address != 0) || (to_pipe && to_address != 0)) {
    return -ESPIPE;
  }
  const Or<std::uint64_t> from_offset = transfer_offset(user_, *from, from_address);
  const Or<std::uint64_t> to_offset = transfer_offset(user_, *to, to_address);
  if (!from_offset || !to_offset) {
    return -EFAULT;
  }
  if (!from->may_read() || !to->may_write()) {
    return -EBADF;
  }
  if ((!from_pipe && !to_pipe) || (from_pipe && to_pipe && is_same_pipe(*from, *to)) ||
      (!to_pipe && (to->open_flags & O_APPEND) != 0) ||
      (from->file->is_stream() && from_address != 0) ||
      (to->file->is_stream() && to_address != 0) || from->file->is_folder() ||
      static_cast<std::int64_t>(*from_offset | *to_offset) < 0) {
    return -EINVAL;
  }
  const Answer moved = move_piece(*from, *from_offset, *to, *to_offset, bytes,
                                  {.flags = flags, .taking = Taking::yes});
  if (moved > 0) {
    const auto by = static_cast<std::uint64_t>(moved);
    if ((!from->file->is_stream() &&
         !end_transfer(user_, *from, from_address, *from_offset + by)) ||
        (!to->file->is_stream() && !end_transfer(user_, *to, to_address, *to_offset + by))) {
      return -EFAULT;
    }
  }
  return moved;
}

Answer FileCalls::sys_tee(const Args& args) {
  const auto [from_descriptor, to_descriptor, bytes, flags, unused4, unused5] = args;
  const Or<Ends> ends = splice_ends(from_descriptor, to_descriptor, bytes, flags);
  if (!ends || ends->from == nullptr) {
    return ends ? 0 : -Answer{ends.error()};
  }
  const auto [from, to] = *ends;
  if (!from->may_read() || !to->may_write()) {
    return -EBADF;
  }
  if (!from->file->peek({}) || !from->file->capacity() || !to->file->capacity() ||
      is_same_pipe(*from, *to)) {
    return -EINVAL;
  }
  return move_piece(*from, 0, *to, 0, bytes, {.flags = flags, .taking = Taking::no});
}

} // namespace guest::linux
