// SPDX-License-Identifier: MIT
#include "guest/linux/open_files.hpp"

#include <cerrno>

#include <doctest/doctest.h>

namespace {
using guest::linux::OpenFile;
using guest::linux::OpenFiles;
} // namespace

TEST_CASE("the lowest free descriptor is taken") {
  OpenFiles files;
  CHECK(files.add(new OpenFile) == 0);
  CHECK(files.add(new OpenFile) == 1);
  CHECK(files.add(new OpenFile, 5) == 5);
  delete *files.remove(0);
  CHECK(files.get(0) == nullptr);
  CHECK(files.add(new OpenFile) == 0);
  CHECK(files.add(new OpenFile) == 2);
}

TEST_CASE("copies of a descriptor share the file until the last is gone") {
  OpenFiles files;
  auto* const file = new OpenFile;
  REQUIRE(files.add(file) == 0);
  CHECK(files.duplicate(0, 3) == 3);
  CHECK(files.get(3) == file);
  file->position = 7;
  CHECK(files.get(3)->position == 7);
  CHECK(files.remove(0) == nullptr);
  CHECK(files.get(3) == file);
  const auto last = files.remove(3);
  REQUIRE(last == file);
  delete *last;
  CHECK(files.remove(3).error() == EBADF);
}

TEST_CASE("closing on exec belongs to the descriptor, not to the file") {
  OpenFiles files;
  REQUIRE(files.add(new OpenFile) == 0);
  files.set_close_on_exec(0, true);
  REQUIRE(files.duplicate(0, 0) == 1);
  CHECK(files.closes_on_exec(0));
  CHECK_FALSE(files.closes_on_exec(1));
  CHECK_FALSE(files.closes_on_exec(2));
}

TEST_CASE("numbers beyond the table are refused") {
  OpenFiles files;
  REQUIRE(files.add(new OpenFile) == 0);
  CHECK(files.get(~std::uint64_t{0}) == nullptr);
  CHECK(files.remove(~std::uint64_t{0}).error() == EBADF);
  CHECK(files.duplicate(1, 0).error() == EBADF);
  CHECK(files.duplicate(0, OpenFiles::max_descriptors).error() == EINVAL);
  for (int next = 1; next < OpenFiles::max_descriptors; ++next) {
    REQUIRE(files.duplicate(0, 0) == next);
  }
  CHECK(files.duplicate(0, 0).error() == EMFILE);
}
