// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_contents.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/linux/host_contents_fixture.hpp"

namespace {

using namespace guest::linux;
using namespace test_support;
using abi::FileOperation;

constexpr std::uint64_t page = 4096;

TEST_CASE("host contents: small writes wait, and reach the host in few calls when it is closed") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "");
  auto file = fixture.open("/a");
  std::string all;
  for (int line = 0; line < 20'000; ++line) {
    const std::string text = std::to_string(line) + "\n";
    put(*file, all.size(), text);
    all += text;
  }
  CHECK(fixture.calls(FileOperation::write) == 0);
  CHECK(get(*file, 100, 50) == all.substr(100, 50));
  CHECK(file->bytes() == all.size());
  CHECK(file->write_out() == 0);
  file.reset();
  CHECK(fixture.calls(FileOperation::write) == 1);
  CHECK(fixture.host.content("/a") == all);
  CHECK(fixture.contents.is_empty());
  CHECK(fixture.pool.out.empty());
}

TEST_CASE("host contents: sync writes all of the file, and then the host's own") {
  HostContentsFixture fixture;
  fixture.host.make("/a", std::string(3 * page, 'a'));
  const auto file = fixture.open("/a");
  const auto other = fixture.open("/a");
  put(*file, 10, "written");
  put(*other, 2 * page, "by another");
  CHECK(file->sync() == 0);
  const FakeFileHost::Inode& inode = *fixture.host.names["/a"];
  CHECK(inode.on_disk == inode.content);
  CHECK(inode.on_disk.substr(10, 7) == "written");
  CHECK(inode.on_disk.substr(2 * page, 10) == "by another");
}

TEST_CASE("host contents: one file by several names and descriptors is one content") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "old content");
  REQUIRE(fixture.files.link("/a", "/b") == 0);
  const auto reader = fixture.open("/a", FileAccess::read); // before anybody writes
  const auto elsewhere = std::unique_ptr<File>(
      fixture.elsewhere.open("/b", FileAccess::read, {.mode = S_IFREG}).value());
  CHECK(get(*elsewhere, 0, 3) == "old");
  const auto writer = fixture.open("/b");
  put(*writer, 0, "new");
  CHECK(get(*reader, 0, 100) == "new content");
  CHECK(get(*elsewhere, 0, 3) == "new"); // not what lay around its last read
  CHECK(fixture.host.content("/a") == "old content");
  put(*writer, 11, "!");
  CHECK(fixture.files.look_up("/a")->bytes == 12); // which has it written
  CHECK(fixture.host.content("/a") == "new content!");
}

TEST_CASE("host contents: memory that shows a file shows what waits, too") {
  HostContentsFixture fixture;
  fixture.host.make("/a", std::string(2 * page, 'x'));
  const auto file = fixture.open("/a");
  const auto reader = fixture.open("/a", FileAccess::read);
  put(*file, 1, "y");
  put(*file, 4 * page, "end");
  std::vector<std::byte> to(8 * page, std::byte{1});
  for (File* const from : {file.get(), reader.get()}) {
    CHECK(from->load(0, to) == 4 * page + 3);
    const std::string shown(reinterpret_cast<const char*>(to.data()), 4 * page + 3);
    CHECK(shown == "xy" + std::string(2 * page - 2, 'x') + std::string(2 * page, '\0') + "end");
  }
  CHECK(fixture.calls(FileOperation::write) == 0);
}

TEST_CASE("host contents: pages that memory shows are the file's own, and wait once written to") {
  HostContentsFixture fixture;
  fixture.host.make("/a", std::string(3 * page, 'x'));
  const auto file = fixture.open("/a");
  SharedPages& pages = *file->shared_pages();
  CHECK(fixture.open("/a", FileAccess::read)->shared_pages() == nullptr);
  const Or<ShownPage> read = pages.page_to_show(1, Access::read);
  CHECK(!read->may_be_written);
  CHECK(!fixture.contents.is_dirty());
  put(*file, page, "by a call");
  CHECK(std::memcmp(read->page, "by a call", 9) == 0);
  const Or<ShownPage> written = pages.page_to_show(2, Access::write);
  CHECK(written->may_be_written);
  std::memcpy(written->page + 5, "by a store", 10);
  CHECK(get(*file, 2 * page + 5, 10) == "by a store");
  fixture.views.hidden.clear();
  CHECK(file->sync() == 0);
  CHECK(fixture.views.hidden.front() == std::pair{1UL, 3UL}); // both go at once
  CHECK(fixture.host.names["/a"]->on_disk.substr(2 * page + 5, 10) == "by a store");
  CHECK(!pages.page_to_show(2, Access::read)->may_be_written);
  CHECK(pages.page_to_show(3, Access::read).error() == EFAULT);
}

TEST_CASE("host contents: pages are hidden before they go, whyever they go") {
  const auto hides = [](std::uint64_t number, auto act) {
    HostContentsFixture fixture;
    fixture.host.make("/a", std::string(10 * page, 'x'));
    const auto file = fixture.open("/a");
    for (std::uint64_t at = 0; at < 10; ++at) {
      REQUIRE(file->shared_pages()->page_to_show(at, Access::read));
    }
    fixture.views.hidden.clear();
    const std::size_t before = fixture.pool.out.size();
    act(fixture, *file);
    CHECK(fixture.pool.out.size() < before);
    return std::ranges::any_of(fixture.views.hidden, [&](const auto& range) {
      return range.first <= number && number < range.second;
    });
  };
  CHECK(
      hides(5, [](HostContentsFixture&, File& file) { CHECK(file.truncate(3 * page + 1) == 0); }));
  CHECK(hides(
      2, [](HostContentsFixture&, File& file) { CHECK(file.allocate(3, 2 * page, page) == 0); }));
  CHECK(hides(
      0, [](HostContentsFixture&, File& file) { put(file, 0, std::string(5 * page * 8, 'y')); }));
  CHECK(hides(9, [](HostContentsFixture&, File& file) {
    std::uint64_t end = 0;
    CHECK(file.append(bytes_of("more"), end) == 4);
    CHECK(file.truncate(page) == 0);
  }));
  CHECK(hides(7, [](HostContentsFixture& fixture, File&) { CHECK(fixture.contents.give_back()); }));
  CHECK(hides(7, [](HostContentsFixture& fixture, File& file) {
    fixture.host.change("/a", std::string(10 * page, 'z'));
    CHECK(file.stat());
  }));
  CHECK(hides(7, [](HostContentsFixture& fixture, File& file) {
    REQUIRE(file.shared_pages()->page_to_show(7, Access::write));
    fixture.host.refuse(FileOperation::write, EIO);
    CHECK(file.sync() == EIO);
  }));
}

TEST_CASE(
    "host contents: what memory shows behind the end of the file is not written, nor seen later") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "short");
  const auto file = fixture.open("/a");
  const auto scribble = [&] {
    const Or<ShownPage> shown = file->shared_pages()->page_to_show(0, Access::write);
    std::memcpy(shown->page + file->bytes().value(), "behind", 6);
  };
  scribble();
  CHECK(file->sync() == 0);
  CHECK(fixture.host.content("/a") == "short");
  scribble();
  put(*file, 20, "!");
  CHECK(get(*file, 0, 100) == "short" + std::string(15, '\0') + "!");
  scribble();
  CHECK(file->truncate(40) == 0);
  CHECK(get(*file, 21, 100) == std::string(19, '\0'));
}

TEST_CASE("host contents: what gets a name or times is written before") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "");
  const auto file = fixture.open("/a");
  put(*file, 0, "one");
  REQUIRE(fixture.files.rename("/a", "/b", 0) == 0);
  CHECK(fixture.host.content("/b") == "one");
  put(*file, 3, "two");
  REQUIRE(fixture.files.link("/b", "/c") == 0);
  CHECK(fixture.host.content("/c") == "onetwo");
  put(*file, 6, "three");
  REQUIRE(file->set_times({.accessed_ns = 7, .modified_ns = 7}) == 0);
  CHECK(file->stat()->modified_ns == 7);
  put(*file, 11, "four");
  REQUIRE(fixture.files.set_times("/b", {.accessed_ns = 7, .modified_ns = 7}) == 0);
  CHECK(file->stat()->modified_ns == 7);
  CHECK(fixture.host.content("/b") == "onetwothreefour");
}

TEST_CASE("host contents: what is appended goes to the end that the host has") {
  HostContentsFixture fixture;
  fixture.host.make("/log", "a\n");
  const auto file = fixture.open("/log");
  CHECK(get(*file, 0, 100) == "a\n");
  fixture.host.change("/log", "a\nby another\n");
  std::uint64_t end = 0;
  CHECK(file->append(bytes_of("b\n"), end) == 2);
  CHECK(end == 15);
  CHECK(fixture.host.content("/log") == "a\nby another\nb\n");
  CHECK(get(*file, 0, 100) == "a\nby another\nb\n");
}

TEST_CASE(
    "host contents: changes by others show when the file is opened, looked at, or at its end") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "first");
  const auto file = fixture.open("/a");
  CHECK(get(*file, 0, 5) == "first");
  fixture.host.change("/a", "other");
  CHECK(fixture.open("/a") != nullptr);
  CHECK(get(*file, 0, 5) == "other");
  fixture.host.change("/a", "third");
  CHECK(file->stat()->bytes == 5);
  CHECK(get(*file, 0, 5) == "third");
  fixture.host.change("/a", "third and more");
  CHECK(get(*file, 5, 100) == " and more");
  fixture.host.change("/a", "cut");
  CHECK(file->stat()->bytes == 3);
  CHECK(get(*file, 0, 100) == "cut");
  CHECK(fixture.calls(FileOperation::write) == 0); // nobody here has written
}

TEST_CASE("host contents: far behind the end, and around the cache, writes go to the host") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "");
  const auto file = fixture.open("/a");
  fixture.host.refuse(FileOperation::write, EFBIG);
  CHECK(file->write(std::uint64_t{1} << 40, bytes_of("x")).error() == EFBIG);
  CHECK(file->write(~std::uint64_t{0} >> 1, bytes_of("x")).error() == EFBIG);
  fixture.host.refuses = false;
  put(*file, 0, "waits");
  const auto direct = fixture.open("/a");
  direct->bypass_cache();
  CHECK(get(*direct, 0, 5) == "waits");
  put(*direct, 2, "--");
  CHECK(fixture.host.content("/a") == "wa--s");
  CHECK(get(*file, 0, 5) == "wa--s");
}

TEST_CASE("host contents: what waits is bounded in bytes and in time") {
  HostContentsFixture fixture;
  fixture.host.make("/a", "");
  const auto file = fixture.open("/a");
  std::uint64_t written = 0;
  for (; fixture.calls(FileOperation::write) == 0; written += page) {
    REQUIRE(written <= HostContents::most_dirty_bytes);
    put(*file, written, std::string(page, 'x'));
    fixture.contents.tend();
  }
  CHECK(fixture.host.content("/a").size() == written);
  CHECK(fixture.calls(FileOperation::write) <= 17);
  fixture.host.asked.clear();
  put(*file, 0, "y");
  fixture.contents.tend();
  fixture.machine.now += HostContents::dirty_time_ns - 1;
  put(*file, 1, "y"); // does not begin anew
  fixture.contents.tend();
  CHECK(fixture.calls(FileOperation::write) == 0);
  fixture.machine.now += 1;
  fixture.contents.tend();
  CHECK(fixture.calls(FileOperation::write) == 1);
  put(*file, 2, "y");
  fixture.contents.rest_until(fixture.machine.now + 1); // a program that waits has written
  CHECK(!fixture.contents.is_dirty());
  CHECK(fixture.host.content("/a").starts_with("yyyx"));
}

TEST_CASE(
    "host contents: pages go back after a while, for a long wait, for memory, or for others") {
  HostContentsFixture fixture;
  fixture.host.make("/a", std::string(200 * page, 'x'));
  const auto file = fixture.open("/a");
  const auto touch = [&] {
    for (std::uint64_t at = 0; at < 200; ++at) {
      REQUIRE(get(*file, at * page, 1) == "x");
      fixture.contents.tend();
    }
  };
  touch();
  CHECK(fixture.calls(FileOperation::read) < 12); // read ahead
  CHECK(fixture.pool.out.size() == 200);
  fixture.machine.now += HostContents::unused_time_ns;
  fixture.contents.tend();
  CHECK(fixture.pool.out.size() == 200);
  fixture.machine.now += HostContents::unused_time_ns;
  fixture.contents.tend();
  CHECK(fixture.pool.out.empty());
  touch();
  fixture.contents.rest_until(fixture.machine.now + HostContents::unused_time_ns);
  CHECK(fixture.pool.out.empty());
  touch();
  put(*file, 1, "y");
  CHECK(fixture.contents.give_back());
  CHECK(fixture.pool.out.size() == 1); // what waits
  CHECK(!fixture.contents.give_back());
  fixture.pool.most = 400;
  touch();
  CHECK(fixture.pool.out.size() <= 100);
  CHECK(get(*file, 0, 3) == "xyx");
}

} // namespace
