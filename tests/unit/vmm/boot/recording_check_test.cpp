// SPDX-License-Identifier: MIT
#include "vmm/boot/recording_check.hpp"

#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

std::uint64_t allocation(std::uint64_t id, std::uint64_t order, std::uint64_t delta_us = 0) {
  return id | (order << 56) | (delta_us << 32);
}

std::uint64_t release(std::uint64_t id, std::uint64_t order, std::uint64_t delta_us = 0) {
  return allocation(id, order, delta_us) | (std::uint64_t{1} << 63);
}

std::vector<std::byte> trace(const std::vector<std::uint64_t>& events) {
  abi::PageTraceHeader header;
  header.events = static_cast<std::uint32_t>(events.size());
  std::vector<std::byte> bytes(recording_bytes(events.size()));
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!events.empty()) {
    std::memcpy(bytes.data() + sizeof header, events.data(), events.size() * sizeof events[0]);
  }
  return bytes;
}

std::string refuse(std::span<const std::byte> bytes) {
  const auto summary = validate_recording(bytes, "a.pgt");
  REQUIRE_FALSE(summary.has_value());
  CHECK(summary.error().error_class == ErrorClass::user);
  CHECK(summary.error().message.starts_with("a.pgt: "));
  CHECK(summary.error().message.find('\n') == std::string::npos);
  return summary.error().message;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

const std::vector<std::uint64_t> good{
    allocation(0, 0), allocation(1, 10, 5), release(0, 0, 7),
    allocation(2, 3), release(1, 10, 1),    allocation(3, 1, abi::PageTraceEvent::max_delta_us),
};

} // namespace

TEST_CASE("a good trace is summed up") {
  const auto summary = validate_recording(trace(good), "a.pgt");
  REQUIRE(summary.has_value());
  CHECK(summary->events == 6);
  CHECK(summary->blocks == 4);
  CHECK(summary->peak_pages == 1024 + 8);
  CHECK(summary->live_at_end_pages == 10);
  CHECK(summary->duration_us == 13 + abi::PageTraceEvent::max_delta_us);
}

TEST_CASE("an empty trace is a trace") {
  const auto summary = validate_recording(trace({}), "a.pgt");
  REQUIRE(summary.has_value());
  CHECK(summary->events == 0);
  CHECK(summary->blocks == 0);
  CHECK(summary->peak_pages == 0);
}

TEST_CASE("the header's peak is not relied on") {
  auto bytes = trace(good);
  bytes[12] = std::byte{0xff};
  const auto summary = validate_recording(bytes, "a.pgt");
  REQUIRE(summary.has_value());
  CHECK(summary->peak_pages == 1032);
}

TEST_CASE("every proper prefix is refused, and so is everything longer") {
  auto bytes = trace(good);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    const std::string message = refuse(std::span(bytes).first(length));
    CHECK(contains(message, length == 0 ? "not a page trace" : "truncated"));
  }
  CHECK(contains(refuse(std::span(bytes).first(16 + 8 * 3 + 5)), "event 3 of 6"));
  CHECK(contains(refuse(std::span(bytes).first(16 + 8 * 3 + 5)), "byte 45"));
  bytes.push_back(std::byte{0});
  CHECK(contains(refuse(bytes), "goes on after"));
  CHECK(contains(refuse(bytes), "byte 64"));
}

TEST_CASE("a header that promises more events than there are is a truncation") {
  auto bytes = trace(good);
  for (std::size_t at = 8; at < 12; ++at) {
    bytes[at] = std::byte{0xff};
  }
  CHECK(contains(refuse(bytes), "truncated"));
}

TEST_CASE("every bit of the magic counts") {
  for (std::size_t bit = 0; bit < 64; ++bit) {
    auto bytes = trace(good);
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    CAPTURE(bit);
    CHECK(contains(refuse(bytes), "not a page trace"));
  }
}

TEST_CASE("damaged events are named with number and offset") {
  struct Case {
    std::vector<std::uint64_t> events;
    const char* what;
  };
  const Case cases[] = {
      {{allocation(0, 0), allocation(1, 11)}, "order 11 is out of range 0 to 10"},
      {{allocation(0, 0), allocation(1, 127)}, "order 127 is out of range 0 to 10"},
      {{allocation(0, 0), release(0, 16)}, "order 16 is out of range 0 to 10"},
      {{allocation(0, 0), allocation(2, 0)}, "unknown block id 2"},
      {{allocation(0, 0), allocation(0xffffffff, 0)}, "unknown block id 4294967295"},
      {{allocation(0, 0), release(7, 0)}, "unknown block id 7"},
      {{allocation(0, 0), allocation(0, 0)}, "block 0 is allocated a second time"},
      {{allocation(0, 0), release(1, 0)}, "block 1 is freed before its allocation"},
      {{allocation(1, 0), release(0, 0)}, "block 0 is freed before its allocation"},
      {{allocation(0, 3), release(0, 2)}, "block 0 of order 3 is freed with order 2"},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.what);
    const std::string message = refuse(trace(bad.events));
    CHECK(contains(message, bad.what));
    CHECK(contains(message, "event 1 at byte 24"));
  }
  CHECK(contains(refuse(trace({allocation(0, 0), release(0, 0), release(0, 0)})),
                 "event 2 at byte 32: block 0 is freed a second time"));
  CHECK(contains(refuse(trace({allocation(0, 0), release(0, 0), allocation(0, 0)})),
                 "event 2 at byte 32: block 0 is allocated a second time"));
}

TEST_CASE("any single bit flipped is refused or leaves a trace that is consistent") {
  const auto original = trace(good);
  for (std::size_t bit = 0; bit < original.size() * 8; ++bit) {
    auto bytes = original;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    CAPTURE(bit);
    const auto summary = validate_recording(bytes, "a.pgt");
    if (summary) {
      CHECK(summary->events == good.size());
      CHECK(summary->blocks <= summary->events);
      CHECK(summary->live_at_end_pages <= summary->peak_pages);
      CHECK(summary->peak_pages <= summary->events << abi::max_order);
    }
  }
}
