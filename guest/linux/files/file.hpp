// SPDX-License-Identifier: MIT
// What an open file can do, whatever is behind it: the host's files, the guest's memory, a pipe, or
// something made up. Errors are error numbers of Linux; what a kind cannot do is answered as Linux
// answers it for most kinds. Pure.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/files/shared_pages.hpp"
#include "shared/file_call.hpp"

namespace guest::linux {

// Of abi::file_readable, file_writable and file_hung_up, which the host has words for, and those:
using Readiness = std::uint32_t;
inline constexpr Readiness file_takes_message = 1U << 28; // of datagrams: what it has refused
inline constexpr Readiness file_met = 1U << 29;           // of a named pipe: the other end was open
inline constexpr Readiness file_read_hung_up = 1U << 30;  // nothing comes any more (POLLRDHUP)
inline constexpr Readiness file_failed = 1U << 31;        // nobody reads what is written (POLLERR)
inline constexpr std::uint64_t wait_for_ever = ~std::uint64_t{0}; // as a time-out

class InterestList;
class SignalFile;
class Socket;
class Terminal;
class TimerFile;

class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  // Bytes moved; 0 at the end. Streams have no offsets, and wait for nothing: EAGAIN.
  [[nodiscard]] virtual Or<std::uint64_t> read(std::uint64_t /*offset*/,
                                               std::span<std::byte> /*to*/) {
    return std::unexpected(EINVAL);
  }
  // The same for memory that shows the file; may be asked while another call of this file's is
  // under way, because that touched such memory.
  [[nodiscard]] virtual Or<std::uint64_t> load(std::uint64_t offset, std::span<std::byte> to) {
    return read(offset, to);
  }
  [[nodiscard]] virtual Or<std::uint64_t> write(std::uint64_t /*offset*/,
                                                std::span<const std::byte> /*from*/) {
    return std::unexpected(EINVAL);
  }
  // At the end, wherever that is; `end` is where it is afterwards.
  [[nodiscard]] virtual Or<std::uint64_t> append(std::span<const std::byte> from,
                                                 std::uint64_t& end) {
    const Or<abi::FileStat> is = stat();
    if (!is) {
      return std::unexpected(is.error());
    }
    Or<std::uint64_t> put = write(is->bytes, from);
    end = is->bytes + put.value_or(0);
    return put;
  }
  [[nodiscard]] virtual Or<abi::FileStat> stat() = 0;
  // Its size.
  [[nodiscard]] virtual Or<std::uint64_t> bytes() {
    const Or<abi::FileStat> is = stat();
    return is ? Or<std::uint64_t>(is->bytes) : std::unexpected(is.error());
  }
  [[nodiscard]] virtual Or<abi::FileSpace> space() { return std::unexpected(ENOSYS); }
  // The next entries of a folder from `position` on, as abi::DirectoryEntry each; moves `position`.
  // Bytes of `to` that were used, 0 at the end; EINVAL when it is too short for one.
  [[nodiscard]] virtual Or<std::uint64_t> list(std::uint64_t& /*position*/,
                                               std::span<std::byte> /*to*/) {
    return std::unexpected(ENOTDIR);
  }

  // Results are 0 or an error number.
  [[nodiscard]] virtual int truncate(std::uint64_t /*bytes*/) { return EINVAL; }
  // `mode` as fallocate has it.
  [[nodiscard]] virtual int allocate(std::uint32_t /*mode*/, std::uint64_t /*offset*/,
                                     std::uint64_t /*bytes*/) {
    return ENODEV;
  }
  // F_SEAL_ of what may not be done any more; EINVAL: it has none.
  [[nodiscard]] virtual Or<std::uint32_t> seals() { return std::unexpected(EINVAL); }
  [[nodiscard]] virtual int add_seals(std::uint32_t /*seals*/) { return EINVAL; }
  // Brings what was written to the disk.
  [[nodiscard]] virtual int sync() { return EINVAL; }
  // Hands what was written to whoever keeps the file, who may have refused some of it before: that
  // is told here or by sync(), once.
  [[nodiscard]] virtual int write_out() { return 0; }
  // From now on nothing of it is kept here (O_DIRECT).
  virtual void bypass_cache() {}
  [[nodiscard]] virtual int set_mode(std::uint32_t /*mode*/) { return EPERM; }
  [[nodiscard]] virtual int set_times(const abi::FileTimes& /*times*/) { return EPERM; }
  [[nodiscard]] virtual int set_owner(const abi::FileOwner& /*owner*/) { return EPERM; }

  // Has no position.
  [[nodiscard]] virtual bool is_stream() const { return false; }
  [[nodiscard]] virtual bool is_folder() const { return false; }
  // What memory can show of it as it is; null: only copies.
  [[nodiscard]] virtual SharedPages* shared_pages() { return nullptr; }
  // Its content may be mapped into memory.
  [[nodiscard]] virtual bool is_mappable() const { return false; }
  // Of a stream that has a position all the same, of its own.
  [[nodiscard]] virtual Or<std::uint64_t> seek(std::int64_t /*offset*/, std::uint32_t /*whence*/) {
    return std::unexpected(ESPIPE);
  }
  // What the next read would give, which it still does; EINVAL where that cannot be had.
  [[nodiscard]] virtual Or<std::uint64_t> peek(std::span<std::byte> /*to*/) {
    return std::unexpected(EINVAL);
  }
  // Bytes that a pipe holds at most; EBADF of what is none.
  [[nodiscard]] virtual Or<std::uint64_t> capacity() { return std::unexpected(EBADF); }
  // At least as many. What it is then; EBADF, EINVAL, EPERM, or EBUSY when more is in it.
  [[nodiscard]] virtual Or<std::uint64_t> set_capacity(std::uint64_t /*bytes*/) {
    return std::unexpected(EBADF);
  }
  // Which of `wanted` it is, and abi::file_hung_up and file_failed unasked. Files always are.
  [[nodiscard]] virtual Or<Readiness> ready_for(Readiness wanted) {
    return wanted & (abi::file_readable | abi::file_writable);
  }
  // Whether that can change, so that epoll takes it.
  [[nodiscard]] virtual bool is_pollable() { return false; }
  // How often something has happened for which it may be one of `wanted` anew: what epoll's edges
  // are. Grows also where it is ready all the time.
  [[nodiscard]] virtual std::uint64_t arrivals(Readiness /*wanted*/) { return 0; }
  // When the time alone makes it readable, in ns since boot; wait_for_ever: it does not.
  [[nodiscard]] virtual std::uint64_t ready_at_ns() { return wait_for_ever; }
  // What it is not ready for now it may be ready for later, without the program's doing.
  [[nodiscard]] virtual bool may_become_ready() const { return false; }
  // Has Machine::sleep_until_ns end once it is ready for any of `wanted`; once. 0 or an error
  // number.
  [[nodiscard]] virtual int watch(Readiness /*wanted*/) { return 0; }
  [[nodiscard]] virtual Or<std::uint64_t> readable_bytes() { return std::unexpected(ENOTTY); }
  // The program has `bytes` of it from `offset` on as code at `address`: for those who watch it.
  virtual void tell_code(std::uint64_t /*address*/, std::uint64_t /*offset*/,
                         std::uint64_t /*bytes*/) {}
  // Null: it is none.
  [[nodiscard]] virtual Terminal* terminal() { return nullptr; }
  [[nodiscard]] virtual TimerFile* timer() { return nullptr; }
  [[nodiscard]] virtual SignalFile* signals() { return nullptr; }
  [[nodiscard]] virtual InterestList* interests() { return nullptr; }
  [[nodiscard]] virtual Socket* socket() { return nullptr; }
};

} // namespace guest::linux
