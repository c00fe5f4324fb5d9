// SPDX-License-Identifier: MIT
#include "guest/linux/events/event_counter.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

namespace guest::linux {

Or<std::uint64_t> EventCounter::read(std::uint64_t /*offset*/, std::span<std::byte> to) {
  if (to.size() < sizeof count_) {
    return std::unexpected(EINVAL);
  }
  if (count_ == 0) {
    return std::unexpected(EAGAIN);
  }
  const std::uint64_t taken = reading_ == Reading::all ? count_ : 1;
  count_ -= taken;
  ++takings_;
  std::memcpy(to.data(), &taken, sizeof taken);
  return sizeof taken;
}

Or<std::uint64_t> EventCounter::write(std::uint64_t /*offset*/, std::span<const std::byte> from) {
  std::uint64_t added = 0;
  if (from.size() < sizeof added) {
    return std::unexpected(EINVAL);
  }
  std::memcpy(&added, from.data(), sizeof added);
  if (added > most) {
    return std::unexpected(EINVAL);
  }
  if (added > most - count_) {
    return std::unexpected(EAGAIN);
  }
  count_ += added;
  ++additions_;
  return sizeof added;
}

Or<Readiness> EventCounter::ready_for(Readiness wanted) {
  return ((count_ != 0 ? abi::file_readable : 0U) | (count_ < most ? abi::file_writable : 0U)) &
         wanted;
}

std::uint64_t EventCounter::arrivals(Readiness wanted) {
  return ((wanted & abi::file_readable) != 0 ? additions_ : 0) +
         ((wanted & abi::file_writable) != 0 ? takings_ : 0);
}

} // namespace guest::linux
