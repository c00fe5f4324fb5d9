// SPDX-License-Identifier: MIT
#include "guest/linux/files/random_bytes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

// Counts upwards, eight bytes at a time; gives no more than it is told.
class CountingHost final : public FilePort {
 public:
  [[nodiscard]] abi::FileResult perform(const abi::FileCall& call) override {
    CHECK(call.operation == abi::FileOperation::random);
    CHECK(call.buffer_bytes <= abi::random_bytes);
    ++calls;
    if (answers == 0) {
      return -EIO;
    }
    --answers;
    auto* const to = reinterpret_cast<std::byte*>(call.buffer_gpa); // NOLINT
    for (std::uint64_t at = 0; at + sizeof next <= call.buffer_bytes; at += sizeof next) {
      ++next;
      std::memcpy(to + at, &next, sizeof next);
    }
    return static_cast<abi::FileResult>(call.buffer_bytes);
  }

  std::uint64_t next = 0;
  unsigned calls = 0;
  unsigned answers = 1000;
};

std::span<std::byte> bytes_of(std::uint64_t& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

TEST_CASE("random bytes: small requests share one of the host's, and no two get the same") {
  CountingHost host;
  RandomBytes random(host);
  std::set<std::uint64_t> seen;
  constexpr unsigned requests = 100;
  for (unsigned index = 0; index < requests; ++index) {
    std::uint64_t value = 0;
    REQUIRE(random.fill(bytes_of(value)) == sizeof value);
    CHECK(value != 0);
    CHECK(seen.insert(value).second);
  }
  CHECK(host.calls ==
        (requests * sizeof(std::uint64_t) + abi::random_bytes - 1) / abi::random_bytes);
}

TEST_CASE("random bytes: what was handed out is kept nowhere") {
  CountingHost host;
  RandomBytes random(host);
  std::uint64_t value = 0;
  CHECK(random.fill(bytes_of(value)) == sizeof value);
  const auto object = std::as_bytes(std::span(&random, 1));
  const auto found = std::ranges::search(object, std::as_bytes(std::span(&value, 1)));
  CHECK(found.empty());
}

TEST_CASE("random bytes: large requests go to the host, in parts that it takes") {
  CountingHost host;
  RandomBytes random(host);
  std::vector<std::byte> large(1000);
  CHECK(random.fill(large) == large.size());
  CHECK(host.calls == 4);
  CHECK(random.fill({}) == std::uint64_t{0});
}

TEST_CASE("random bytes: a host that gives none, or stops") {
  CountingHost host;
  RandomBytes random(host);
  std::uint64_t value = 0;
  host.answers = 0;
  CHECK(random.fill(bytes_of(value)).error() == EIO);
  host.answers = 1;
  std::vector<std::byte> large(600);
  CHECK(random.fill(large) == abi::random_bytes); // as much as there was
  host.answers = 1000;
  CHECK(random.fill(bytes_of(value)) == sizeof value);
}

} // namespace
