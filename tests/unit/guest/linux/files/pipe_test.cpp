// SPDX-License-Identifier: MIT
#include "guest/linux/files/pipe.hpp"

#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux;

struct Ends {
  Ends() {
    const PipeEnds made = make_pipe(1);
    reader.reset(made.reader);
    writer.reset(made.writer);
  }
  std::unique_ptr<File> reader;
  std::unique_ptr<File> writer;
};

std::vector<std::byte> numbered(std::size_t bytes) {
  std::vector<std::byte> content(bytes);
  for (std::size_t at = 0; at < bytes; ++at) {
    content[at] = static_cast<std::byte>(at * 7);
  }
  return content;
}

} // namespace

TEST_CASE("pipe: bytes come out as they went in, around the ring again and again") {
  Ends pipe;
  const std::vector<std::byte> content = numbered(50000);
  for (int round = 0; round < 5; ++round) {
    REQUIRE(pipe.writer->write(0, content) == content.size());
    std::vector<std::byte> got(content.size());
    REQUIRE(pipe.reader->read(0, std::span(got).first(20000)) == 20000);
    REQUIRE(pipe.reader->read(0, std::span(got).subspan(20000)) == 30000);
    CHECK(got == content);
  }
}

TEST_CASE("pipe: who would have to wait is told; small writes are not torn") {
  Ends pipe;
  std::array<std::byte, 10> to{};
  CHECK(pipe.reader->read(0, to).error() == EAGAIN);
  CHECK(pipe.writer->write(0, numbered(100000)) == 65536);
  CHECK(pipe.writer->write(0, numbered(1)).error() == EAGAIN);
  CHECK(pipe.reader->read(0, to) == 10);
  CHECK(pipe.writer->write(0, numbered(11)).error() == EAGAIN);
  CHECK(pipe.writer->write(0, numbered(10)) == 10);
}

TEST_CASE("pipe: an end that is gone is the end of input, or an error of who writes") {
  Ends pipe;
  std::array<std::byte, 10> to{};
  REQUIRE(pipe.writer->write(0, numbered(3)) == 3);
  CHECK(pipe.reader->ready_for(abi::file_readable) == abi::file_readable);
  pipe.writer.reset();
  CHECK(pipe.reader->ready_for(abi::file_readable) == (abi::file_readable | abi::file_hung_up));
  CHECK(pipe.reader->read(0, to) == 3);
  CHECK(pipe.reader->read(0, to) == 0);
  Ends other;
  other.reader.reset();
  CHECK(other.writer->write(0, numbered(1)).error() == EPIPE);
  CHECK(other.writer->ready_for(abi::file_writable) == (abi::file_writable | abi::file_hung_up));
}
