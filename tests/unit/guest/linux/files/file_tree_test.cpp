// SPDX-License-Identifier: MIT
#include "guest/linux/files/file_tree.hpp"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "guest/linux/files/memory_files.hpp"
#include "tests/support/counted_pages.hpp"
#include "tests/support/fake_file_host.hpp"
#include "tests/support/settable_time.hpp"

namespace {

using namespace guest::linux;

// A root with a folder, a file and links, and another file system at /mnt and at /deep/er/still.
struct Fixture {
  test_support::CountedPages pages;
  test_support::NoViews views;
  test_support::SettableTime time;
  MemoryFiles root{pages, views, time, {}, 1};
  MemoryFiles other{pages, views, time, {}, 2};
  FileTree tree;

  Fixture() {
    tree.mount("", root, FileTree::Paths::whole);
    tree.mount("/mnt", other, FileTree::Paths::below_the_mount);
    tree.mount("/deep/er/still", other, FileTree::Paths::below_the_mount);
    REQUIRE(root.make_folder("/folder", 0755) == 0);
    REQUIRE(root.make_folder("/mnt", 0755) == 0);
    for (const std::string_view path : {"/folder/file", "/mnt/hidden"}) {
      delete root.create(path, 0644).value();
    }
    delete other.create("/file", 0644).value();
    REQUIRE(other.make_folder("/inner", 0755) == 0);
    REQUIRE(other.make_link("/home", "/folder") == 0);
    REQUIRE(other.make_link("/up", "../folder/file") == 0);
    REQUIRE(root.make_link("/over", "mnt/inner") == 0);
    REQUIRE(root.make_link("/round", "/round") == 0);
    REQUIRE(root.make_link("/dangling", "none/such") == 0);
  }

  // Where it leads, or what is wrong.
  std::string walk(std::string_view path, FileTree::Last last = FileTree::Last::follow,
                   std::string_view folder = {}) {
    const auto place = tree.walk(folder, path, last);
    if (!place) {
      return std::strerror(place.error()); // NOLINT(concurrency-mt-unsafe)
    }
    return std::string(place->whole()) + (place->stat ? "" : " missing");
  }
};

std::string text(int error) {
  return std::strerror(error); // NOLINT(concurrency-mt-unsafe)
}

} // namespace

TEST_CASE("file tree: dots and links lead from one file system to the other") {
  Fixture fixture;
  CHECK(fixture.walk("/") == "/");
  CHECK(fixture.walk("//mnt//.//file") == "/mnt/file");
  CHECK(fixture.walk("/mnt/..") == "/");
  CHECK(fixture.walk("/mnt/inner/../../folder/./file") == "/folder/file");
  CHECK(fixture.walk("/../../mnt/../..") == "/");
  CHECK(fixture.walk("/mnt/home/file") == "/folder/file");
  CHECK(fixture.walk("/mnt/up") == "/folder/file");
  CHECK(fixture.walk("/over/..") == "/mnt"); // of where the link leads, not of the link
  CHECK(fixture.walk("../file", FileTree::Last::follow, "/mnt/inner") == "/mnt/file");
  CHECK(fixture.walk("file", FileTree::Last::follow, "/folder") == "/folder/file");
  CHECK(fixture.walk("/mnt/hidden") == "/mnt/hidden missing");
}

TEST_CASE("file tree: what is missing may be so at the end alone") {
  Fixture fixture;
  CHECK(fixture.walk("/none") == "/none missing");
  CHECK(fixture.walk("/none/") == "/none missing");
  CHECK(fixture.walk("/none/file") == text(ENOENT));
  CHECK(fixture.walk("/none/..") == text(ENOENT));
  CHECK(fixture.walk("/dangling") == text(ENOENT));
  CHECK(fixture.walk("") == text(ENOENT));
  CHECK(fixture.walk("/folder/file/") == text(ENOTDIR));
  CHECK(fixture.walk("/folder/file/.") == text(ENOTDIR));
  CHECK(fixture.walk("/folder/file/..") == text(ENOTDIR));
  CHECK(fixture.walk("/round") == text(ELOOP));
  CHECK(fixture.walk("/" + std::string(256, 'a')) == text(ENAMETOOLONG));
  std::string deep;
  for (int depth = 0; depth < 3000; ++depth) {
    deep += "/a";
  }
  CHECK(fixture.walk(deep) == text(ENOENT));
}

TEST_CASE("file tree: a link at the end is followed, kept, or meant by its name") {
  Fixture fixture;
  using Last = FileTree::Last;
  CHECK(fixture.walk("/over", Last::follow) == "/mnt/inner");
  CHECK(fixture.walk("/over", Last::keep) == "/over");
  CHECK(fixture.walk("/over/", Last::keep) == "/mnt/inner");
  CHECK(fixture.walk("/over/", Last::name) == "/over");
  CHECK(fixture.walk("/over/.", Last::name) == "/mnt/inner");
  CHECK(fixture.walk("/round", Last::keep) == "/round");
  CHECK(fixture.walk("/folder/file/", Last::name) == "/folder/file");
}

TEST_CASE("file tree: mount points show, are busy, and make the folders that they need") {
  Fixture fixture;
  CHECK(fixture.walk("/deep/er") == "/deep/er");
  CHECK(fixture.walk("/deep/er/still/file") == "/deep/er/still/file");
  CHECK(fixture.walk("/deep/none") == "/deep/none missing");
  const auto names = [&fixture](std::string_view path) {
    std::set<std::string> found;
    const auto place = fixture.tree.walk({}, path, FileTree::Last::follow);
    REQUIRE(place);
    const Or<File*> opened = fixture.tree.open_folder(*place);
    REQUIRE(opened);
    const std::unique_ptr<File> folder(*opened);
    std::array<std::byte, 64> to{};
    std::uint64_t position = 0;
    for (Or<std::uint64_t> got = folder->list(position, to); got && *got != 0;
         got = folder->list(position, to)) {
      for (std::uint64_t at = 0; at < *got;) {
        std::uint16_t length = 0;
        std::memcpy(&length, to.data() + at + offsetof(abi::DirectoryEntry, bytes), sizeof length);
        found.insert(reinterpret_cast<const char*>(to.data() + at + abi::directory_entry_name));
        at += length;
      }
    }
    return found;
  };
  CHECK(names("/") ==
        std::set<std::string>{".", "..", "deep", "folder", "mnt", "over", "round", "dangling"});
  CHECK(names("/deep").contains("er"));
  CHECK(names("/mnt").contains("file"));
  for (const std::string_view path : {"/", "/mnt", "/deep", "/deep/er", "/deep/er/still"}) {
    CAPTURE(path);
    CHECK(fixture.tree.is_busy(*fixture.tree.walk({}, path, FileTree::Last::follow)));
  }
  CHECK_FALSE(fixture.tree.is_busy(*fixture.tree.walk({}, "/folder", FileTree::Last::follow)));
  const auto here = fixture.tree.walk({}, "/mnt/file", FileTree::Last::follow);
  const auto there = fixture.tree.walk({}, "/deep/er/still/file", FileTree::Last::follow);
  CHECK(here->mount != there->mount); // renaming from one to the other is EXDEV
}
