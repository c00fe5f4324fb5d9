// SPDX-License-Identifier: MIT
#include "guest/linux/events/timer_file.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

namespace guest::linux {

static_assert(TimerFile::never == wait_for_ever);

void TimerFile::look() {
  const std::uint64_t now_ns = machine_.now_ns();
  if (setting_.next_ns > now_ns) {
    return;
  }
  const std::uint64_t interval = setting_.interval_ns;
  const std::uint64_t times = interval == 0 ? 1 : 1 + (now_ns - setting_.next_ns) / interval;
  come_ += times;
  ever_come_ += times;
  setting_.next_ns = interval == 0 ? never : setting_.next_ns + times * interval;
}

void TimerFile::set(const Setting& setting) {
  setting_ = setting;
  come_ = 0;
}

TimerFile::Setting TimerFile::setting() {
  look();
  return setting_;
}

Or<std::uint64_t> TimerFile::read(std::uint64_t /*offset*/, std::span<std::byte> to) {
  if (to.size() < sizeof come_) {
    return std::unexpected(EINVAL);
  }
  look();
  if (come_ == 0) {
    return std::unexpected(EAGAIN);
  }
  const std::uint64_t times = std::exchange(come_, 0);
  std::memcpy(to.data(), &times, sizeof times);
  return sizeof times;
}

Or<Readiness> TimerFile::ready_for(Readiness wanted) {
  look();
  return come_ != 0 ? abi::file_readable & wanted : 0;
}

std::uint64_t TimerFile::arrivals(Readiness /*wanted*/) {
  look();
  return ever_come_;
}

std::uint64_t TimerFile::ready_at_ns() {
  look();
  return setting_.next_ns;
}

} // namespace guest::linux
