// SPDX-License-Identifier: MIT
#include "guest/linux/files/open_files.hpp"

#include <cerrno>

#include <doctest/doctest.h>

namespace {

using guest::linux::File;
using guest::linux::OpenFile;
using guest::linux::OpenFiles;
using guest::linux::Or;

// Counts those that there are.
class CountedFile final : public File {
 public:
  explicit CountedFile(int& count) : count_(count) { ++count_; }
  ~CountedFile() override { --count_; }
  [[nodiscard]] Or<abi::FileStat> stat() override { return abi::FileStat{}; }

 private:
  int& count_;
};

int others = 0;

std::unique_ptr<OpenFile> make_file(int& count = others) {
  return std::make_unique<OpenFile>(new CountedFile(count), 0U, guest::linux::Text{});
}

} // namespace

TEST_CASE("the lowest free descriptor is taken") {
  OpenFiles files;
  CHECK(files.add(make_file()) == 0);
  CHECK(files.add(make_file()) == 1);
  CHECK(files.add(make_file(), 5) == 5);
  CHECK(files.remove(0) == 0);
  CHECK(files.get(0) == nullptr);
  CHECK(files.add(make_file()) == 0);
  CHECK(files.add(make_file()) == 2);
}

TEST_CASE("copies of a descriptor share the file until the last is gone") {
  int count = 0;
  OpenFiles files;
  REQUIRE(files.add(make_file(count)) == 0);
  CHECK(files.duplicate(0, 3) == 3);
  CHECK(files.get(3) == files.get(0));
  files.get(0)->position = 7;
  CHECK(files.get(3)->position == 7);
  CHECK(files.remove(0) == 0);
  CHECK(files.get(3) != nullptr);
  CHECK(count == 1);
  CHECK(files.remove(3) == 0);
  CHECK(count == 0);
  CHECK(files.remove(3) == EBADF);
}

TEST_CASE("a file that finds no descriptor is closed, and so are those that are left") {
  int count = 0;
  {
    OpenFiles files;
    for (int next = 0; next < OpenFiles::max_descriptors; ++next) {
      REQUIRE(files.add(make_file(count)) == next);
    }
    CHECK(files.add(make_file(count)).error() == EMFILE);
    CHECK(count == OpenFiles::max_descriptors);
  }
  CHECK(count == 0);
}

TEST_CASE("closing on exec belongs to the descriptor, not to the file") {
  OpenFiles files;
  REQUIRE(files.add(make_file()) == 0);
  files.set_close_on_exec(0, true);
  REQUIRE(files.duplicate(0, 0) == 1);
  CHECK(files.closes_on_exec(0));
  CHECK_FALSE(files.closes_on_exec(1));
  CHECK_FALSE(files.closes_on_exec(2));
}

TEST_CASE("numbers beyond the table are refused") {
  OpenFiles files;
  REQUIRE(files.add(make_file()) == 0);
  CHECK(files.get(~std::uint64_t{0}) == nullptr);
  CHECK(files.remove(~std::uint64_t{0}) == EBADF);
  CHECK(files.duplicate(1, 0).error() == EBADF);
  CHECK(files.duplicate(0, OpenFiles::max_descriptors).error() == EINVAL);
  for (int next = 1; next < OpenFiles::max_descriptors; ++next) {
    REQUIRE(files.duplicate(0, 0) == next);
  }
  CHECK(files.duplicate(0, 0).error() == EMFILE);
}
