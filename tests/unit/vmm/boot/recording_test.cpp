// SPDX-License-Identifier: MIT
#include "vmm/boot/recording.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <lzma.h>

#include "tests/support/temporary_folder.hpp"

using namespace vmm;
using test_support::TemporaryFolder;

namespace {

using Bytes = std::vector<std::byte>;

std::string write(const TemporaryFolder& dir, const char* name, const Bytes& bytes) {
  std::string path = dir / name;
  std::ofstream file(path, std::ios::binary);
  // SAFETY: char may alias anything.
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
  return path;
}

// `blocks` pages allocated, then freed.
Bytes trace(std::uint32_t blocks) {
  abi::PageTraceHeader header;
  header.events = 2 * blocks;
  header.peak_pages = blocks;
  Bytes bytes(recording_bytes(header.events));
  std::memcpy(bytes.data(), &header, sizeof header);
  for (std::uint64_t event = 0; event < header.events; ++event) {
    const std::uint64_t word = (event % blocks) | (event < blocks ? 0 : std::uint64_t{1} << 63);
    std::memcpy(bytes.data() + recording_bytes(event), &word, sizeof word);
  }
  return bytes;
}

Bytes compress(const Bytes& plain) {
  Bytes packed(lzma_stream_buffer_bound(plain.size()));
  std::size_t used = 0;
  // SAFETY: uint8_t may alias anything.
  const lzma_ret status = lzma_easy_buffer_encode(
      0, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(plain.data()),
      plain.size(), reinterpret_cast<std::uint8_t*>(packed.data()), &used, packed.size());
  REQUIRE(status == LZMA_OK);
  packed.resize(used);
  return packed;
}

std::string refuse(const std::string& path,
                   std::uint64_t limit_bytes = Recording::default_limit_bytes) {
  const auto input = Recording::load(path, limit_bytes);
  REQUIRE_FALSE(input.has_value());
  CHECK(input.error().error_class == ErrorClass::user);
  CHECK(input.error().message.starts_with(path + ": "));
  CHECK(input.error().message.find('\n') == std::string::npos);
  return input.error().message;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

void check_content(const Recording& input, const Bytes& expected) {
  REQUIRE(input.bytes() == expected.size());
  CHECK(input.pages().size() % abi::page_bytes == 0);
  CHECK(input.pages().size() >= expected.size());
  CHECK(std::equal(expected.begin(), expected.end(), input.pages().begin()));
  CHECK(std::all_of(input.pages().begin() + static_cast<std::ptrdiff_t>(expected.size()),
                    input.pages().end(), [](std::byte byte) { return byte == std::byte{0}; }));
}

} // namespace

TEST_CASE("plain and xz traces load alike, whatever their names") {
  const TemporaryFolder dir;
  // 16 + 16 * 1023 bytes are exactly four pages.
  for (const std::uint32_t blocks : {1U, 255U, 1023U, 50'000U}) {
    CAPTURE(blocks);
    const Bytes plain = trace(blocks);
    for (const std::string& path :
         {write(dir, "plain.xz", plain), write(dir, "packed.pgt", compress(plain))}) {
      const auto input = Recording::load(path);
      REQUIRE_MESSAGE(input.has_value(), input.error().message);
      check_content(*input, plain);
      CHECK(input->summary().blocks == blocks);
      CHECK(input->summary().peak_pages == blocks);
    }
  }
}

TEST_CASE("a loaded trace survives a move") {
  const TemporaryFolder dir;
  const Bytes plain = trace(300);
  auto loaded = Recording::load(write(dir, "a.pgt", plain));
  REQUIRE(loaded.has_value());
  Recording first = std::move(*loaded);
  const Recording second = std::move(first);
  check_content(second, plain);
}

TEST_CASE("a plain trace cut anywhere is refused") {
  const TemporaryFolder dir;
  const Bytes plain = trace(4);
  for (std::size_t length = 0; length < plain.size(); ++length) {
    CAPTURE(length);
    refuse(write(dir, "cut.pgt",
                 Bytes(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(length))));
  }
}

TEST_CASE("an xz trace cut anywhere is refused") {
  const TemporaryFolder dir;
  const Bytes packed = compress(trace(4));
  for (std::size_t length = 0; length < packed.size(); ++length) {
    CAPTURE(length);
    const std::string message =
        refuse(write(dir, "cut.xz",
                     Bytes(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(length))));
    CHECK(contains(message, length < 6 ? "not a page trace" : "truncated xz"));
  }
}

TEST_CASE("no flipped bit of an xz trace goes unnoticed") {
  const TemporaryFolder dir;
  const Bytes packed = compress(trace(4));
  for (std::size_t bit = 0; bit < packed.size() * 8; ++bit) {
    Bytes bytes = packed;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    CAPTURE(bit);
    refuse(write(dir, "flipped.xz", bytes));
  }
}

TEST_CASE("data behind the end is refused") {
  const TemporaryFolder dir;
  Bytes plain = trace(4);
  Bytes packed = compress(plain);
  const Bytes twice = [&packed] {
    Bytes both = packed;
    both.insert(both.end(), packed.begin(), packed.end());
    return both;
  }();
  // Two streams are one file for xz, so its content is a trace with another behind it.
  CHECK(contains(refuse(write(dir, "twice.xz", twice)), "goes on after"));
  plain.push_back(std::byte{0});
  CHECK(contains(refuse(write(dir, "long.pgt", plain)), "goes on after"));
  CHECK(contains(refuse(write(dir, "inner.xz", compress(plain))), "goes on after"));
  packed.push_back(std::byte{'x'});
  refuse(write(dir, "outer.xz", packed));
}

TEST_CASE("a huge trace is refused by its header, before it is held") {
  const TemporaryFolder dir;
  Bytes plain = trace(4);
  CHECK(Recording::load(write(dir, "fits.pgt", plain), plain.size()).has_value());
  CHECK(contains(refuse(write(dir, "over.pgt", plain), plain.size() - 1), "at most"));
  const std::uint32_t events = 0xffffffff;
  std::memcpy(plain.data() + 8, &events, sizeof events);
  CHECK(contains(refuse(write(dir, "huge.pgt", plain)), "32.0 GiB"));
  CHECK(contains(refuse(write(dir, "huge.xz", compress(plain))), "32.0 GiB"));
}

TEST_CASE("a bomb is read no further than its header promises") {
  const TemporaryFolder dir;
  Bytes plain = trace(4);
  plain.resize(std::size_t{64} << 20);
  CHECK(contains(refuse(write(dir, "bomb.xz", compress(plain))), "goes on after"));
}

TEST_CASE("damaged events are found through xz as well") {
  const TemporaryFolder dir;
  Bytes plain = trace(4);
  plain[16 + 7] = std::byte{11};
  CHECK(contains(refuse(write(dir, "order.xz", compress(plain))), "event 0 at byte 16: order 11"));
}

TEST_CASE("what is no trace is named") {
  const TemporaryFolder dir;
  CHECK(contains(refuse(dir / "absent.pgt"), "No such file"));
  CHECK(contains(refuse(dir.path().string()), "directory"));
  CHECK(contains(refuse(write(dir, "empty.pgt", {})), "not a page trace"));
  CHECK(contains(refuse(write(dir, "text.pgt", Bytes(100, std::byte{'a'}))), "not a page trace"));
  CHECK(contains(refuse(write(dir, "text.xz", compress(Bytes(100, std::byte{'a'})))),
                 "not a page trace"));
}

TEST_CASE("the shipped traces are good") {
  struct Shipped {
    const char* name;
    std::uint64_t events;
    std::uint64_t peak_pages;
    std::uint64_t live_at_end_mib;
  };
  for (const Shipped& shipped :
       {Shipped{"cxx", 1'979'213, 239'780, 60}, Shipped{"sqlite", 1'165'963, 138'034, 3},
        Shipped{"redis", 264'210, 50'939, 14}}) {
    CAPTURE(shipped.name);
    const auto input = Recording::load(std::string("tests/traces/") + shipped.name + ".pgt.xz");
    REQUIRE_MESSAGE(input.has_value(), input.error().message);
    CHECK(input->summary().events == shipped.events);
    CHECK(input->summary().peak_pages == shipped.peak_pages);
    CHECK(input->summary().live_at_end_pages / 256 == shipped.live_at_end_mib);
  }
}
