// SPDX-License-Identifier: MIT
#include "guest/linux/files/memory_files.hpp"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/counted_pages.hpp"
#include "tests/support/fake_file_host.hpp"
#include "tests/support/settable_time.hpp"

namespace {

using namespace guest::linux;
using test_support::CountedPages;
using test_support::NoViews;
using test_support::SettableTime;

constexpr std::uint64_t page = abi::page_bytes;

struct Fixture {
  CountedPages pages{1000};
  NoViews views;
  SettableTime time;
  MemoryFiles files{pages, views, time, {1000, 100}, 7};

  std::unique_ptr<File> make(std::string_view path) {
    const Or<File*> made = files.create(path, 0644);
    REQUIRE(made);
    return std::unique_ptr<File>(*made);
  }
  std::unique_ptr<File> open(std::string_view path) {
    const Or<File*> opened = files.open(path, FileAccess::read, {});
    REQUIRE(opened);
    return std::unique_ptr<File>(*opened);
  }
};

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::string read_all(File& file, std::uint64_t offset = 0) {
  std::array<std::byte, 100> to{};
  const Or<std::uint64_t> got = file.read(offset, to);
  REQUIRE(got);
  return {reinterpret_cast<const char*>(to.data()), *got};
}

std::multiset<std::string> names_in(File& folder, std::size_t room) {
  std::multiset<std::string> names;
  std::vector<std::byte> to(room);
  std::uint64_t position = 0;
  for (;;) {
    const Or<std::uint64_t> got = folder.list(position, to);
    REQUIRE(got);
    if (*got == 0) {
      return names;
    }
    for (std::uint64_t at = 0; at < *got;) {
      std::uint16_t length = 0;
      std::memcpy(&length, to.data() + at + offsetof(abi::DirectoryEntry, bytes), sizeof length);
      names.insert(reinterpret_cast<const char*>(to.data() + at + abi::directory_entry_name));
      at += length;
    }
  }
}

} // namespace

TEST_CASE("memory files: pages go back when a file shrinks, and with its last name and user") {
  Fixture fixture;
  auto file = fixture.make("/a");
  CHECK(fixture.pages.used() == 0);
  REQUIRE(file->write(0, std::vector<std::byte>(20 * page)) == 20 * page);
  CHECK(fixture.pages.used() == 21); // and a node
  CHECK(file->truncate(page + 1) == 0);
  CHECK(fixture.pages.used() == 3);
  CHECK(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page) == 0);
  CHECK(fixture.pages.used() == 2);
  CHECK(fixture.files.link("/a", "/b") == 0);
  CHECK(fixture.files.remove("/a", NameKind::file) == 0);
  CHECK(fixture.files.remove("/b", NameKind::file) == 0);
  CHECK(file->stat()->links == 0);
  CHECK(fixture.pages.used() == 2); // somebody has it open
  CHECK(file->stat()->bytes == page + 1);
  file.reset();
  CHECK(fixture.pages.used() == 0);
}

TEST_CASE("memory files: what is replaced by another goes back, too") {
  Fixture fixture;
  REQUIRE(fixture.make("/old")->write(0, bytes_of("old")) == 3);
  REQUIRE(fixture.make("/new")->write(0, bytes_of("new")) == 3);
  CHECK(fixture.pages.used() == 2);
  CHECK(fixture.files.rename("/new", "/old", RENAME_NOREPLACE) == EEXIST);
  CHECK(fixture.files.rename("/new", "/old", 0) == 0);
  CHECK(fixture.pages.used() == 1);
  CHECK(read_all(*fixture.open("/old")) == "new");
  CHECK(fixture.files.look_up("/new").error() == ENOENT);
}

TEST_CASE("memory files: without memory a write is short, then refused, and loses nothing") {
  Fixture fixture;
  const auto file = fixture.make("/a");
  fixture.pages.limit(4);
  CHECK(file->write(0, std::vector<std::byte>(10 * page, std::byte{1})) == 3 * page);
  CHECK(file->write(3 * page, bytes_of("x")).error() == ENOSPC);
  CHECK(file->allocate(0, 0, 10 * page) == ENOSPC);
  CHECK(file->stat()->bytes == 3 * page);
  CHECK(file->write(page, bytes_of("still")) == 5);
  CHECK(read_all(*file, page).starts_with("still"));
}

TEST_CASE("memory files: what was cut off does not come back, and holes take nothing") {
  Fixture fixture;
  const auto file = fixture.make("/a");
  REQUIRE(file->write(0, bytes_of("secret")) == 6);
  CHECK(file->truncate(2) == 0);
  CHECK(file->truncate(6) == 0);
  CHECK(read_all(*file) == std::string("se\0\0\0\0", 6));
  CHECK(file->truncate(MemoryFile::most_bytes) == 0);
  CHECK(file->truncate(MemoryFile::most_bytes + 1) == EFBIG);
  CHECK(file->write(MemoryFile::most_bytes, bytes_of("x")).error() == EFBIG);
  REQUIRE(file->write(MemoryFile::most_bytes - 1, bytes_of("xy")) == 1);
  CHECK(fixture.pages.used() < 10);
}

TEST_CASE("memory files: folders move, but not into themselves, and keep count of each other") {
  Fixture fixture;
  REQUIRE(fixture.files.make_folder("/a", 0755) == 0);
  REQUIRE(fixture.files.make_folder("/a/b", 0755) == 0);
  REQUIRE(fixture.files.make_folder("/c", 0755) == 0);
  CHECK(fixture.files.look_up("/a")->links == 3);
  CHECK(fixture.files.rename("/a", "/a/b/a", 0) == EINVAL);
  CHECK(fixture.files.rename("/a", "/a/b", 0) == EINVAL);
  CHECK(fixture.files.rename("/a/b", "/a", 0) == ENOTEMPTY);
  CHECK(fixture.files.rename("/c", "/a", RENAME_EXCHANGE) == 0);
  CHECK(fixture.files.look_up("/c/b")->links == 2);
  CHECK(fixture.files.rename("/c/b", "/a/b", 0) == 0);
  CHECK(fixture.files.look_up("/c")->links == 2);
  CHECK(fixture.files.look_up("/a")->links == 3);
  CHECK(fixture.files.remove("/a", NameKind::folder) == ENOTEMPTY);
  CHECK(fixture.files.remove("/a/b", NameKind::file) == EISDIR);
  CHECK(fixture.files.link("/a", "/again") == EPERM);
}

TEST_CASE("memory files: in a folder that is gone and still open nothing is made") {
  Fixture fixture;
  REQUIRE(fixture.files.make_folder("/a", 0755) == 0);
  const auto folder = fixture.open("/a");
  REQUIRE(fixture.files.remove("/a", NameKind::folder) == 0);
  CHECK(folder->stat()->links == 1);
  CHECK(fixture.files.create("/a/b", 0644).error() == ENOENT);
  CHECK(names_in(*folder, 100).size() == 2);
}

TEST_CASE("memory files: a list misses nothing while what it has listed goes") {
  Fixture fixture;
  for (int number = 0; number < 50; ++number) {
    static_cast<void>(fixture.make("/" + std::to_string(number)));
  }
  const auto root = fixture.open("");
  CHECK(names_in(*root, 64).size() == 52);
  std::uint64_t position = 0;
  std::array<std::byte, 128> to{};
  int removed = 0;
  while (true) {
    const Or<std::uint64_t> got = root->list(position, to);
    REQUIRE(got);
    if (*got == 0) {
      break;
    }
    for (std::uint64_t at = 0; at < *got;) {
      std::uint16_t length = 0;
      std::memcpy(&length, to.data() + at + offsetof(abi::DirectoryEntry, bytes), sizeof length);
      const std::string name(
          reinterpret_cast<const char*>(to.data() + at + abi::directory_entry_name));
      if (name != "." && name != "..") {
        removed += fixture.files.remove("/" + name, NameKind::file) == 0 ? 1 : 0;
      }
      at += length;
    }
  }
  CHECK(removed == 50);
  std::array<std::byte, 8> little{};
  position = 0;
  CHECK(root->list(position, little).error() == EINVAL);
}

TEST_CASE("memory files: times, rights and owners are kept") {
  Fixture fixture;
  fixture.time.now_ns = 5;
  const auto file = fixture.make("/a");
  CHECK(file->stat()->modified_ns == 5);
  CHECK(file->stat()->user == 1000);
  fixture.time.now_ns = 9;
  REQUIRE(file->write(0, bytes_of("x")) == 1);
  CHECK(file->stat()->modified_ns == 9);
  CHECK(fixture.files.set_times("/a", {abi::file_time_kept, 3}) == 0);
  CHECK(file->stat()->modified_ns == 3);
  CHECK(file->stat()->accessed_ns == 5);
  CHECK(fixture.files.set_mode("/a", 0100600 | 04000) == 0);
  CHECK(file->stat()->mode == (S_IFREG | 04600U));
  CHECK(fixture.files.set_owner("/a", {.user = 1, .group = abi::file_owner_kept}) == 0);
  CHECK(file->stat()->user == 1);
  CHECK(file->stat()->group == 100);
}

TEST_CASE("memory files: a deep tree goes whole") {
  CountedPages pages;
  {
    SettableTime time;
    NoViews views;
    MemoryFiles files(pages, views, time, {}, 7);
    std::string path;
    for (int depth = 0; depth < 300; ++depth) {
      path += "/a";
      REQUIRE(files.make_folder(path, 0755) == 0);
      const Or<File*> file = files.create(path + "x", 0644);
      REQUIRE(file);
      REQUIRE((*file)->write(0, bytes_of("x")) == 1);
      delete *file;
    }
    CHECK(pages.used() == 300);
  }
  CHECK(pages.used() == 0);
}
