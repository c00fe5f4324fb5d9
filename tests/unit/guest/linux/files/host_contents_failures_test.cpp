// SPDX-License-Identifier: MIT
// What is to be written late, on hosts that refuse it and in guests without memory.
#include <algorithm>
#include <cerrno>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/linux/host_contents_fixture.hpp"

namespace {

using namespace guest::linux;
using namespace test_support;
using abi::FileOperation;

constexpr std::uint64_t page = 4096;

TEST_CASE("host contents: an error of what waited is told once, to each open file") {
  for (const auto tell : {0, 1, 2}) {
    HostContentsFixture fixture;
    fixture.host.make("/a", "kept");
    auto file = fixture.open("/a");
    const auto other = fixture.open("/a");
    put(*file, 4, std::string(page, 'x'));
    fixture.host.refuse(FileOperation::write, ENOSPC);
    fixture.contents.write_out();
    CHECK(!fixture.contents.is_dirty());
    const auto told = [&](File& to) { return tell == 0 ? to.sync() : to.write_out(); };
    CHECK(told(*file) == ENOSPC);
    CHECK(told(*file) == 0);
    CHECK(told(*other) == ENOSPC);
    CHECK(told(*other) == 0);
    CHECK(file->stat()->bytes == 4); // what could not be written is not there
    CHECK(get(*file, 0, 100) == "kept");
    if (tell == 2) { // from now on who writes is told
      CHECK(file->write(4, bytes_of("y")).error() == ENOSPC);
    }
  }
}

TEST_CASE("host contents: on a disk that is nearly full, who writes is told") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "");
  fixture.host.free_bytes = HostContents::least_space_bytes - page;
  const auto file = fixture.open("/a");
  put(*file, 0, "there");
  CHECK(fixture.host.content("/a") == "there");
  fixture.host.refuse(FileOperation::write, ENOSPC);
  CHECK(file->write(5, bytes_of("not")).error() == ENOSPC);
  CHECK(file->write_out() == 0);
}

TEST_CASE("host contents: with little or no memory everything still works") {
  for (const std::size_t most : {0U, 1U, 2U, 7U, 100U}) {
    HostContentsFixture fixture;
    fixture.host.make("/a", std::string(50 * page, 'x'));
    fixture.pool.most = most;
    auto file = fixture.open("/a");
    std::string all = fixture.host.content("/a");
    for (std::uint64_t at = 5; at < 60 * page; at += page - 100) {
      put(*file, at, "some words");
      all.resize(std::max<std::size_t>(all.size(), at + 10));
      all.replace(at, 10, "some words");
      REQUIRE(get(*file, 0, all.size() + 1) == all);
      REQUIRE(get(*file, at, 100) == all.substr(at, 100));
      fixture.contents.tend();
    }
    CHECK(file->write_out() == 0);
    CHECK(fixture.host.content("/a") == all);
  }
}

// The host refuses each write in turn: somebody is told, and what was not refused is there.
TEST_CASE("host contents: whichever write is refused, it is told") {
  bool refused_any = true;
  for (int after = 0; refused_any; ++after) {
    CAPTURE(after);
    HostContentsFixture fixture;
    fixture.pool.most = 100;
    fixture.host.make("/a", std::string(30 * page, 'x'));
    fixture.host.refuse(FileOperation::write, EIO, after);
    auto file = fixture.open("/a");
    int told = 0;
    for (std::uint64_t at = 0; at < 130; ++at) {
      const std::string text(at % 50 == 49 ? HostContent::large_bytes : 3000, 'y');
      told += !file->write(at * 5000, bytes_of(text)) ? 1 : 0;
      fixture.contents.tend();
      told += at % 100 == 60 && file->sync() != 0 ? 1 : 0;
    }
    told += file->write_out() != 0 ? 1 : 0;
    refused_any = fixture.host.refusals_after == 0 && fixture.calls(FileOperation::write) > after;
    CHECK((told != 0) == refused_any);
    CHECK(!fixture.contents.is_dirty());
    CHECK(file->write_out() == 0);
    CHECK(file->stat()->bytes == fixture.host.content("/a").size());
    REQUIRE(after < 500);
  }
}

} // namespace
