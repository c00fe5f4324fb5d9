// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/fake_file_host.hpp"

namespace {

using namespace guest::linux;
using abi::FileOperation;
using test_support::FakeMachine;
using test_support::FakePool;
using test_support::NoViews;

// A host with one folder of files, which counts what it is asked.
class FakePort final : public FilePort {
 public:
  abi::FileResult perform(const abi::FileCall& call) override {
    ++asked[call.operation];
    last = call;
    const std::string path(reinterpret_cast<const char*>(call.path_gpa), call.path_bytes); // NOLINT
    auto* const buffer = reinterpret_cast<char*>(call.buffer_gpa);                         // NOLINT
    switch (call.operation) {
    case FileOperation::stat_path: {
      if (!files.contains(path)) {
        return -ENOENT;
      }
      const abi::FileStat stat{.bytes = files[path].size(), .mode = S_IFREG | 0644U};
      std::memcpy(buffer, &stat, sizeof stat);
      return 0;
    }
    case FileOperation::open:
      opened = path;
      return 3;
    case FileOperation::read: {
      const std::string& content = files[opened];
      const std::size_t at = std::min<std::size_t>(call.offset, content.size());
      const std::size_t got = std::min<std::size_t>(call.buffer_bytes, content.size() - at);
      std::memcpy(buffer, content.data() + at, got);
      return static_cast<abi::FileResult>(got);
    }
    case FileOperation::write:
      return static_cast<abi::FileResult>(std::min<std::uint64_t>(call.buffer_bytes, takes));
    default:
      return 0;
    }
  }

  std::map<std::string, std::string> files;
  std::map<FileOperation, int> asked;
  abi::FileCall last;
  std::string opened;
  std::uint64_t takes = ~std::uint64_t{0};
};

struct Fixture {
  FakePort port;
  FakeMachine machine;
  FakePool pool;
  NoViews views;
  HostContents contents{pool, machine, views};
  HostFiles read{port, machine, contents, HostFiles::Use::read_only};
  HostFiles changed{port, machine, contents, HostFiles::Use::changed};

  std::unique_ptr<File> open(HostFiles& files, std::string_view path) {
    return std::unique_ptr<File>(
        files.open(path, FileAccess::read, {.mode = S_IFREG | 0644U}).value());
  }
};

std::string read_at(File& file, std::uint64_t offset, std::size_t bytes) {
  std::vector<std::byte> to(bytes);
  const Or<std::uint64_t> got = file.read(offset, to);
  REQUIRE(got);
  return {reinterpret_cast<const char*>(to.data()), *got};
}

} // namespace

TEST_CASE("host files: what only the host changes is asked once in a while, also what is missing") {
  Fixture fixture;
  fixture.port.files["/a"] = "content";
  for (int time = 0; time < 5; ++time) {
    CHECK(fixture.read.look_up("/a")->bytes == 7);
    CHECK(fixture.read.look_up("/none").error() == ENOENT);
    CHECK(fixture.read.link_text("/a").error() == EINVAL);
  }
  CHECK(fixture.port.asked[FileOperation::stat_path] == 2);
  CHECK(fixture.port.asked[FileOperation::read_link] == 0);
  fixture.port.files["/none"] = "is there now";
  fixture.machine.now += LookUpCache::lifetime_ns;
  CHECK(fixture.read.look_up("/none")->bytes == 12);
  CHECK(fixture.port.asked[FileOperation::stat_path] == 3);
}

TEST_CASE("host files: what the program may change is always asked") {
  Fixture fixture;
  CHECK(fixture.changed.look_up("/a").error() == ENOENT);
  fixture.port.files["/a"] = "content";
  CHECK(fixture.changed.look_up("/a")->bytes == 7);
  const auto file = fixture.open(fixture.changed, "/a");
  CHECK(read_at(*file, 0, 1) == "c");
  CHECK(read_at(*file, 0, 1) == "c");
  CHECK(fixture.port.asked[FileOperation::read] == 2);
}

TEST_CASE("host files: more paths than are kept are asked again, and none is mistaken") {
  Fixture fixture;
  for (int round = 0; round < 2; ++round) {
    for (std::size_t number = 0; number < LookUpCache::most_entries + 100; ++number) {
      const std::string path = "/" + std::to_string(number);
      fixture.port.files[path] = std::string(number % 50, 'x');
      REQUIRE(fixture.read.look_up(path)->bytes == number % 50);
      REQUIRE(fixture.read.look_up(path)->bytes == number % 50);
    }
  }
}

TEST_CASE("host files: small reads share a call, and an end that moves is noticed") {
  Fixture fixture;
  fixture.port.files["/a"] = std::string(10000, 'x') + "end";
  const auto file = fixture.open(fixture.read, "/a");
  for (std::uint64_t at = 0; at < 10000; ++at) {
    REQUIRE(read_at(*file, at, 1) == "x");
  }
  CHECK(fixture.port.asked[FileOperation::read] == 1);
  CHECK(read_at(*file, 9999, 100) == "xend");
  CHECK(read_at(*file, 10003, 100).empty());
  fixture.port.files["/a"] += " and more";
  CHECK(read_at(*file, 10000, 100) == "end and more"); // not what was kept
  CHECK(read_at(*file, 0, 0).empty());
  fixture.port.files["/a"][0] = 'y';
  fixture.machine.now += LookUpCache::lifetime_ns;
  CHECK(read_at(*file, 0, 1) == "y");
}

TEST_CASE("host files: what is large goes in pieces, until one is short") {
  Fixture fixture;
  fixture.port.files["/a"] = std::string(3 * abi::file_transfer_bytes + 5, 'x');
  const auto file = fixture.open(fixture.read, "/a");
  CHECK(read_at(*file, 0, 4 * abi::file_transfer_bytes) == fixture.port.files["/a"]);
  CHECK(fixture.port.asked[FileOperation::read] == 4);
  const std::vector<std::byte> much(2 * abi::file_transfer_bytes + 1);
  CHECK(file->write(0, much) == much.size());
  CHECK(fixture.port.asked[FileOperation::write] == 3);
  CHECK(fixture.port.last.offset == 2 * abi::file_transfer_bytes);
}

TEST_CASE("host files: a file's number goes back with it") {
  Fixture fixture;
  static_cast<void>(fixture.open(fixture.read, "/a"));
  CHECK(fixture.port.asked[FileOperation::close] == 1);
  CHECK(fixture.changed.set_mode("/a", 04755) == EPERM); // not the host's to give
  CHECK(fixture.port.asked[FileOperation::set_mode] == 0);
}
