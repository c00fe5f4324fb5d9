// SPDX-License-Identifier: MIT
#include "vmm/io/patient_output.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  std::string read_all() {
    writer = UniqueFd();
    std::string text;
    std::array<char, 4096> piece{};
    for (ssize_t count = 0; (count = ::read(reader.get(), piece.data(), piece.size())) > 0;) {
      text.append(piece.data(), static_cast<std::size_t>(count));
    }
    return text;
  }
  UniqueFd reader;
  UniqueFd writer;
};

// More than any pipe holds.
const std::string much(8 << 20, 'x');

} // namespace

TEST_CASE("patient output: a slow reader gets everything") {
  Pipe pipe;
  PatientOutput output = *PatientOutput::create(pipe.writer.get());
  std::string text;
  std::thread reader([&] {
    std::array<char, 4096> piece{};
    while (text.size() < much.size() + 3) {
      const ssize_t count = ::read(pipe.reader.get(), piece.data(), piece.size());
      text.append(piece.data(), static_cast<std::size_t>(count));
    }
  });
  output.write(much);
  output.write("end");
  reader.join();
  CHECK(text == much + "end");
}

TEST_CASE("patient output: a stalled reader holds nobody up who is in a hurry") {
  Pipe pipe;
  PatientOutput output = *PatientOutput::create(pipe.writer.get());
  std::thread writer([&] { output.write(much); });
  // Any of: before the write, in its midst, while it waits.
  output.hurry();
  writer.join();
  output.write("dropped");
  const std::string text = pipe.read_all();
  CHECK(text.size() < much.size());
  CHECK_FALSE(text.contains("dropped"));
}

TEST_CASE("patient output: in a hurry, but somebody reads") {
  Pipe pipe;
  PatientOutput output = *PatientOutput::create(pipe.writer.get());
  output.hurry();
  output.write("the summary");
  CHECK(pipe.read_all() == "the summary");
}

TEST_CASE("patient output: without a reader, or without a descriptor, nothing waits") {
  Pipe pipe;
  const int closed = pipe.reader.get();
  pipe.reader = UniqueFd();
  PatientOutput output = *PatientOutput::create(closed);
  output.write("text");
  PatientOutput nowhere = *PatientOutput::create(-1);
  nowhere.hurry();
  nowhere.write("text");
}

TEST_CASE("patient output: the first error is kept, and nothing is tried after it") {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  PatientOutput output = *PatientOutput::create(full.get());
  CHECK(output.error() == 0);
  output.write("text");
  output.write("more");
  CHECK(output.error() == ENOSPC);
}
