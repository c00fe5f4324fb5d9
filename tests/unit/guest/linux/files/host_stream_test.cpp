// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_stream.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using abi::FileOperation;

// A stream that gives and takes so much, and may be a terminal.
class FakePort final : public FilePort {
 public:
  abi::FileResult perform(const abi::FileCall& call) override {
    calls.push_back(call);
    auto* const buffer = reinterpret_cast<char*>(call.buffer_gpa); // NOLINT
    switch (call.operation) {
    case FileOperation::terminal:
      return is_terminal ? 0 : -ENOTTY;
    case FileOperation::read: {
      if (input.empty()) {
        return -EAGAIN;
      }
      const std::size_t got = std::min<std::size_t>(input.size(), call.buffer_bytes);
      std::memcpy(buffer, input.data(), got);
      input.erase(0, got);
      return static_cast<abi::FileResult>(got);
    }
    case FileOperation::write: {
      const std::size_t put = std::min<std::size_t>(room, call.buffer_bytes);
      room -= put;
      return put == 0 ? -EAGAIN : static_cast<abi::FileResult>(put);
    }
    case FileOperation::wait:
      return (call.flags & abi::file_readable) != 0 && !input.empty()
                 ? abi::FileResult{abi::file_readable}
                 : 0;
    case FileOperation::seek:
      return is_terminal ? -ESPIPE : static_cast<abi::FileResult>(call.offset + call.mode);
    default:
      return 0;
    }
  }

  std::vector<abi::FileCall> calls;
  std::string input;
  std::size_t room = 0;
  bool is_terminal = false;
};

TEST_CASE("host stream: nothing is waited for within the host") {
  FakePort port;
  HostStream stream(port, 0);
  std::array<std::byte, 100> buffer{};
  CHECK(stream.read(0, buffer).error() == EAGAIN);
  CHECK((port.calls.back().flags & abi::file_no_wait) != 0);
  CHECK(stream.ready_for(abi::file_readable) == Readiness{0});
  CHECK(port.calls.back().offset == 0);
  port.input = "some";
  CHECK(stream.ready_for(abi::file_readable) == abi::file_readable);
  CHECK(stream.read(0, buffer) == 4);
  const std::size_t before = port.calls.size();
  CHECK(stream.read(0, {}) == 0);
  CHECK(port.calls.size() == before);
  CHECK(stream.write(0, buffer).error() == EAGAIN);
  CHECK((port.calls.back().flags & abi::file_no_wait) != 0);
  port.room = 30;
  CHECK(stream.write(0, buffer) == 30);
  CHECK(stream.watch(abi::file_writable) == 0);
  CHECK(port.calls.back().operation == FileOperation::watch);
  CHECK(port.calls.back().flags == abi::file_writable);
}

TEST_CASE("host stream: a file goes on where the host says, a terminal is one and nowhere") {
  FakePort port;
  HostStream file(port, 1);
  CHECK(file.terminal() == nullptr);
  CHECK(file.seek(40, 2) == 42);
  port.is_terminal = true;
  HostStream stream(port, 2);
  REQUIRE(stream.terminal() != nullptr);
  CHECK(stream.seek(0, 1).error() == ESPIPE);
  const Or<abi::FileStat> stat = stream.stat();
  REQUIRE(stat);
  CHECK(stat->special_device == terminal_stat().special_device);
  CHECK(stat->inode == terminal_stat().inode);
  CHECK(stream.terminal()->set_mode({.local = 5}) == 0);
  CHECK(port.calls.back().operation == FileOperation::set_terminal_mode);
  CHECK(port.calls.back().file == 2);
}

} // namespace
