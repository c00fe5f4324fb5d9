// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_handle.hpp"

#include <algorithm>

namespace guest::linux {

Or<std::uint64_t> HostHandle::ask(abi::FileCall call) const {
  call.file = number_;
  const abi::FileResult result = port_->perform(call);
  if (result < 0) {
    return std::unexpected(static_cast<int>(-result));
  }
  return static_cast<std::uint64_t>(result);
}

int HostHandle::change(abi::FileCall call) const {
  const Or<std::uint64_t> result = ask(call);
  return result ? 0 : result.error();
}

Or<std::uint64_t> HostHandle::read(std::uint64_t offset, std::span<std::byte> to) const {
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
    if (*got < part) {
      break;
    }
  } while (done < to.size());
  return done;
}

Or<std::uint64_t> HostHandle::put(std::uint32_t flags, std::uint64_t offset,
                                  std::span<const std::byte> from) const {
  std::uint64_t done = 0;
  while (done < from.size()) {
    const Or<std::uint64_t> part = ask(
        {.operation = abi::FileOperation::write,
         .flags = flags,
         .offset = flags == 0 ? offset + done : 0,
         .buffer_gpa = address_of(from.data() + done),
         .buffer_bytes = std::min(from.size() - done, std::uint64_t{abi::file_transfer_bytes})});
    if (!part || *part == 0) {
      return done != 0 || part ? done : part;
    }
    done += *part;
  }
  return done;
}

Or<std::uint64_t> HostHandle::write(std::uint64_t offset, std::span<const std::byte> from) const {
  return put(0, offset, from);
}

Or<std::uint64_t> HostHandle::append(std::span<const std::byte> from) const {
  return put(abi::file_append, 0, from);
}

Or<abi::FileStat> HostHandle::stat() const {
  abi::FileStat is;
  const Or<std::uint64_t> got = ask({.operation = abi::FileOperation::stat,
                                     .buffer_gpa = address_of(&is),
                                     .buffer_bytes = sizeof is});
  return got ? Or<abi::FileStat>(is) : std::unexpected(got.error());
}

Or<abi::FileSpace> HostHandle::space() const {
  abi::FileSpace is;
  const Or<std::uint64_t> got = ask({.operation = abi::FileOperation::space,
                                     .buffer_gpa = address_of(&is),
                                     .buffer_bytes = sizeof is});
  return got ? Or<abi::FileSpace>(is) : std::unexpected(got.error());
}

int HostHandle::truncate(std::uint64_t bytes) const {
  return change({.operation = abi::FileOperation::truncate, .offset = bytes});
}

int HostHandle::allocate(std::uint32_t mode, std::uint64_t offset, std::uint64_t bytes) const {
  return change(
      {.operation = abi::FileOperation::allocate, .mode = mode, .offset = offset, .length = bytes});
}

int HostHandle::sync() const {
  return change({.operation = abi::FileOperation::sync});
}

void HostHandle::close() const {
  static_cast<void>(change({.operation = abi::FileOperation::close}));
}

} // namespace guest::linux
