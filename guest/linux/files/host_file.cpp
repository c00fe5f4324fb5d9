// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_file.hpp"

#include <algorithm>
#include <cstring>

#include "guest/linux/files/look_up_cache.hpp"

namespace guest::linux {

namespace {

// Larger reads are worth a call of their own.
constexpr std::size_t small_read_bytes = 4096;

std::uint64_t address_of(const void* object) {
  return reinterpret_cast<std::uint64_t>(object);
}

} // namespace

HostFile::~HostFile() {
  if (kind_ != Kind::stream) {
    static_cast<void>(change({.operation = abi::FileOperation::close}));
  }
}

Or<std::uint64_t> HostFile::ask(abi::FileCall call) {
  call.file = number_;
  const abi::FileResult result = port_.perform(call);
  if (result < 0) {
    return std::unexpected(static_cast<int>(-result));
  }
  return static_cast<std::uint64_t>(result);
}

int HostFile::change(abi::FileCall call) {
  const Or<std::uint64_t> result = ask(call);
  return result ? 0 : result.error();
}

// As much as one call of the host's moves, again and again, until it moves less.
Or<std::uint64_t> HostFile::read_host(std::uint64_t offset, std::span<std::byte> to) {
  std::uint64_t done = 0;
  do {
    const std::uint64_t part = std::min(to.size() - done, std::uint64_t{abi::file_transfer_bytes});
    const Or<std::uint64_t> got = ask({.operation = abi::FileOperation::read,
                                       .offset = offset + done,
                                       .buffer_gpa = address_of(to.data() + done),
                                       .buffer_bytes = part});
    if (!got) {
      return done != 0 ? done : got;
    }
    done += *got;
    if (*got < part || is_stream()) {
      break;
    }
  } while (done < to.size());
  return done;
}

Or<std::uint64_t> HostFile::read(std::uint64_t offset, std::span<std::byte> to) {
  if (is_folder()) {
    return std::unexpected(EISDIR);
  }
  if (to.empty()) {
    return 0;
  }
  if (ahead_ == ReadAhead::no || to.size() > small_read_bytes) {
    return read_host(offset, to);
  }
  if (!kept_) {
    kept_ = std::make_unique<Ahead>();
  }
  Ahead& kept = *kept_;
  const std::uint64_t now_ns = machine_.now_ns();
  // The end may have moved: what is not there is asked for.
  const bool known = now_ns < kept.until_ns && offset >= kept.offset &&
                     offset - kept.offset + to.size() <= kept.bytes;
  if (!known) {
    kept.until_ns = 0;
    const Or<std::uint64_t> got = read_host(offset, kept.content);
    if (!got) {
      return got;
    }
    kept.offset = offset;
    kept.bytes = *got;
    kept.until_ns = now_ns + LookUpCache::lifetime_ns;
  }
  const std::uint64_t bytes =
      std::min<std::uint64_t>(to.size(), kept.bytes - (offset - kept.offset));
  std::memcpy(to.data(), kept.content.data() + (offset - kept.offset), bytes);
  return bytes;
}

Or<std::uint64_t> HostFile::write(std::uint64_t offset, std::span<const std::byte> from) {
  std::uint64_t done = 0;
  while (done < from.size()) {
    const Or<std::uint64_t> put = ask(
        {.operation = abi::FileOperation::write,
         .offset = offset + done,
         .buffer_gpa = address_of(from.data() + done),
         .buffer_bytes = std::min(from.size() - done, std::uint64_t{abi::file_transfer_bytes})});
    if (!put) {
      return done != 0 ? done : put;
    }
    done += *put;
  }
  return done;
}

// The host finds the end: others may append, too.
Or<std::uint64_t> HostFile::append(std::span<const std::byte> from, std::uint64_t& end) {
  std::uint64_t done = 0;
  while (done < from.size()) {
    const Or<std::uint64_t> put = ask(
        {.operation = abi::FileOperation::write,
         .flags = abi::file_append,
         .buffer_gpa = address_of(from.data() + done),
         .buffer_bytes = std::min(from.size() - done, std::uint64_t{abi::file_transfer_bytes})});
    if (!put) {
      if (done == 0) {
        return put;
      }
      break;
    }
    done += *put;
  }
  const Or<abi::FileStat> is = stat();
  end = is ? is->bytes : done;
  return done;
}

Or<abi::FileStat> HostFile::stat() {
  abi::FileStat is;
  const Or<std::uint64_t> got = ask({.operation = abi::FileOperation::stat,
                                     .buffer_gpa = address_of(&is),
                                     .buffer_bytes = sizeof is});
  return got ? Or<abi::FileStat>(is) : std::unexpected(got.error());
}

Or<abi::FileSpace> HostFile::space() {
  if (is_stream()) {
    return std::unexpected(ENOSYS);
  }
  abi::FileSpace is;
  const Or<std::uint64_t> got = ask({.operation = abi::FileOperation::space,
                                     .buffer_gpa = address_of(&is),
                                     .buffer_bytes = sizeof is});
  return got ? Or<abi::FileSpace>(is) : std::unexpected(got.error());
}

Or<std::uint64_t> HostFile::list(std::uint64_t& position, std::span<std::byte> to) {
  if (!is_folder()) {
    return std::unexpected(ENOTDIR);
  }
  if (position != listed_to_) {
    const Or<std::uint64_t> moved =
        ask({.operation = abi::FileOperation::seek_list, .offset = position});
    if (!moved) {
      return moved;
    }
    listed_to_ = position;
  }
  const Or<std::uint64_t> got =
      ask({.operation = abi::FileOperation::list,
           .buffer_gpa = address_of(to.data()),
           .buffer_bytes = std::min<std::uint64_t>(to.size(), abi::file_transfer_bytes)});
  // The last entry says where the list is now.
  for (std::uint64_t at = 0; got && at + abi::directory_entry_name < *got;) {
    abi::DirectoryEntry entry;
    std::memcpy(static_cast<void*>(&entry), to.data() + at, abi::directory_entry_name);
    position = entry.next;
    at += std::max<std::uint64_t>(entry.bytes, abi::directory_entry_name);
  }
  listed_to_ = position;
  return got;
}

int HostFile::truncate(std::uint64_t bytes) {
  return change({.operation = abi::FileOperation::truncate, .offset = bytes});
}

int HostFile::allocate(std::uint32_t mode, std::uint64_t offset, std::uint64_t bytes) {
  if (kind_ != Kind::regular) {
    return is_stream() ? ESPIPE : ENODEV;
  }
  return change(
      {.operation = abi::FileOperation::allocate, .mode = mode, .offset = offset, .length = bytes});
}

int HostFile::sync() {
  return is_stream() ? EINVAL : change({.operation = abi::FileOperation::sync});
}

int HostFile::set_mode(std::uint32_t mode) {
  return is_stream() ? EPERM : change({.operation = abi::FileOperation::set_mode, .mode = mode});
}

int HostFile::set_times(const abi::FileTimes& times) {
  return is_stream() ? EPERM
                     : change({.operation = abi::FileOperation::set_times,
                               .buffer_gpa = address_of(&times),
                               .buffer_bytes = sizeof times});
}

int HostFile::set_owner(const abi::FileOwner& owner) {
  return is_stream() ? EPERM
                     : change({.operation = abi::FileOperation::set_owner,
                               .buffer_gpa = address_of(&owner),
                               .buffer_bytes = sizeof owner});
}

Or<Readiness> HostFile::wait(Readiness wanted, std::uint64_t timeout_ns) {
  if (!is_stream()) {
    return wanted;
  }
  const Or<std::uint64_t> is =
      ask({.operation = abi::FileOperation::wait, .flags = wanted, .offset = timeout_ns});
  return is ? Or<Readiness>(static_cast<Readiness>(*is)) : std::unexpected(is.error());
}

} // namespace guest::linux
