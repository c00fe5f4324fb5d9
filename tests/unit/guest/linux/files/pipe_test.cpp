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
  CHECK(other.writer->ready_for(abi::file_writable) == (abi::file_writable | file_failed));
}

TEST_CASE("pipe: its room is changed while bytes are in it, and they stay") {
  Ends pipe;
  const std::vector<std::byte> content = numbered(10000);
  std::vector<std::byte> got(content.size());
  REQUIRE(pipe.writer->write(0, numbered(60000)) == 60000); // so that the ring is passed
  std::vector<std::byte> away(60000);
  REQUIRE(pipe.reader->read(0, away) == 60000);
  REQUIRE(pipe.writer->write(0, content) == content.size());
  CHECK(pipe.reader->capacity() == 65536);
  CHECK(pipe.writer->set_capacity(4096).error() == EBUSY);
  CHECK(pipe.writer->set_capacity(10000) == 16384);
  CHECK(pipe.writer->write(0, numbered(10000)) == 6384);
  CHECK(pipe.reader->set_capacity(16385) == 32768);
  CHECK(pipe.reader->read(0, got) == got.size());
  CHECK(got == content);
  CHECK(pipe.reader->set_capacity((1 << 20) + 1).error() == EPERM);
  CHECK(pipe.reader->set_capacity(std::uint64_t{1} << 32).error() == EINVAL);
  CHECK(pipe.reader->set_capacity(0).error() == EBUSY); // what is left of the second write
}

TEST_CASE("pipe: what is looked at is still there; what comes and goes is counted") {
  Ends pipe;
  std::array<std::byte, 4> to{};
  CHECK(pipe.reader->peek(to).error() == EAGAIN);
  CHECK(pipe.writer->peek(to).error() == EINVAL);
  const std::uint64_t before = pipe.reader->arrivals(abi::file_readable);
  REQUIRE(pipe.writer->write(0, numbered(3)) == 3);
  CHECK(pipe.reader->arrivals(abi::file_readable) == before + 1);
  CHECK(pipe.reader->peek(to) == 3);
  CHECK(pipe.reader->read(0, to) == 3);
  CHECK(to[1] == std::byte{7});
  const std::uint64_t room = pipe.writer->arrivals(abi::file_writable);
  REQUIRE(pipe.writer->write(0, numbered(65536)) == 65536);
  REQUIRE(pipe.reader->read(0, to) == 4);
  CHECK(pipe.writer->arrivals(abi::file_writable) == room); // not a page yet
  std::vector<std::byte> page(4096);
  REQUIRE(pipe.reader->read(0, page) == 4096);
  CHECK(pipe.writer->arrivals(abi::file_writable) == room + 1);
  pipe.reader.reset();
  CHECK(pipe.writer->arrivals(abi::file_writable) == room + 2);
}

TEST_CASE(
    "pipe with a name: who opens an end is met by the other, also by one that is gone again") {
  NamedPipe pipe;
  const auto open = [&](PipeAccess access) {
    return std::unique_ptr<File>(pipe.open(access, nullptr));
  };
  const std::unique_ptr<File> reader = open(PipeAccess::read);
  CHECK(reader->ready_for(file_met | abi::file_readable) == 0U); // and nobody has hung up
  std::array<std::byte, 4> to{};
  CHECK(reader->read(0, to) == 0); // as Linux has it
  std::unique_ptr<File> writer = open(PipeAccess::write);
  CHECK(writer->ready_for(file_met) == file_met);
  CHECK(reader->ready_for(file_met) == file_met);
  CHECK(reader->read(0, to).error() == EAGAIN);
  CHECK(writer->write(0, numbered(3)) == 3);
  writer.reset();
  CHECK(reader->ready_for(file_met | abi::file_readable) ==
        (file_met | abi::file_readable | abi::file_hung_up));
  CHECK(reader->read(0, to) == 3);
  CHECK(reader->read(0, to) == 0);
  writer = open(PipeAccess::write); // another
  CHECK(reader->ready_for(abi::file_readable) == 0U);
  CHECK(reader->read(0, to).error() == EAGAIN);
}

TEST_CASE("pipe with a name: both ends in one; several of each; what is in it goes with the last") {
  NamedPipe pipe;
  const auto open = [&](PipeAccess access) {
    return std::unique_ptr<File>(pipe.open(access, nullptr));
  };
  std::array<std::byte, 4> to{};
  std::unique_ptr<File> both = open(PipeAccess::both);
  CHECK(both->ready_for(file_met | abi::file_readable | abi::file_writable) ==
        (file_met | abi::file_writable));
  CHECK(both->write(0, numbered(3)) == 3);
  CHECK(both->read(0, to) == 3);
  CHECK(both->read(0, to).error() == EAGAIN);
  std::unique_ptr<File> one = open(PipeAccess::write);
  std::unique_ptr<File> other = open(PipeAccess::write);
  CHECK(one->write(0, numbered(2)) == 2);
  one.reset();
  CHECK(other->ready_for(abi::file_writable) == abi::file_writable);
  both.reset();
  CHECK(other->ready_for(abi::file_writable) == (abi::file_writable | file_failed));
  CHECK(other->write(0, numbered(1)).error() == EPIPE);
  both = open(PipeAccess::both); // while somebody has it, its content stays
  CHECK(both->read(0, to) == 2);
  CHECK(both->write(0, numbered(2)) == 2);
  both.reset();
  other.reset();
  both = open(PipeAccess::both);
  CHECK(both->read(0, to).error() == EAGAIN);
}
