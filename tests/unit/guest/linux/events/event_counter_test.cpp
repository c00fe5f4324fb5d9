// SPDX-License-Identifier: MIT
#include "guest/linux/events/event_counter.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

Or<std::uint64_t> take(EventCounter& counter) {
  std::array<std::byte, 8> bytes{};
  const Or<std::uint64_t> got = counter.read(0, bytes);
  if (!got) {
    return got;
  }
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

Or<std::uint64_t> add(EventCounter& counter, std::uint64_t value) {
  return counter.write(0, std::as_bytes(std::span(&value, 1)));
}

} // namespace

TEST_CASE("event counter: adds up, and is taken whole or one by one") {
  EventCounter all(2, EventCounter::Reading::all);
  CHECK(add(all, 5) == 8);
  CHECK(take(all) == 7);
  CHECK(take(all).error() == EAGAIN);
  CHECK(add(all, 0) == 8);
  CHECK(take(all).error() == EAGAIN);
  EventCounter ones(2, EventCounter::Reading::one);
  CHECK(take(ones) == 1);
  CHECK(take(ones) == 1);
  CHECK(take(ones).error() == EAGAIN);
}

TEST_CASE("event counter: has an end, which nothing passes") {
  constexpr Readiness both = abi::file_readable | abi::file_writable;
  EventCounter counter(0, EventCounter::Reading::all);
  CHECK(counter.ready_for(both) == abi::file_writable);
  CHECK(add(counter, UINT64_MAX).error() == EINVAL);
  CHECK(add(counter, UINT64_MAX - 2) == 8);
  CHECK(counter.ready_for(both) == both);
  CHECK(add(counter, 2).error() == EAGAIN);
  CHECK(add(counter, 1) == 8);
  CHECK(counter.ready_for(both) == abi::file_readable);
  CHECK(take(counter) == UINT64_MAX - 1);
}
