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

TEST_CASE(
    "there are as many descriptors as the limit says, and the lowest free one is still taken") {
  OpenFiles files;
  CHECK(files.limit() == OpenFiles::usual_descriptors);
  files.set_limit(1 << 20);
  CHECK(files.limit() == OpenFiles::max_descriptors);
  REQUIRE(files.add(make_file(), 60000) == 60000);
  for (int number = 0; number < OpenFiles::max_descriptors - 1; ++number) {
    REQUIRE(files.duplicate(60000, 0) == (number < 60000 ? number : number + 1));
  }
  CHECK(files.is_full());
  CHECK(files.duplicate(0, 0).error() == EMFILE);
  CHECK(files.remove(40000) == 0);
  CHECK(files.remove(300) == 0);
  CHECK(files.duplicate(1, 1000) == 40000);
  CHECK(files.duplicate(1, 0) == 300);
  CHECK(files.remove(500) == 0);
  OpenFiles forked;
  forked.share_all(files);
  CHECK(forked.duplicate(1, 0) == 500);
  CHECK(files.duplicate(1, 0) == 500);
  CHECK(files.is_full());
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
    for (int next = 0; next < OpenFiles::usual_descriptors; ++next) {
      REQUIRE(files.add(make_file(count)) == next);
    }
    CHECK(files.add(make_file(count)).error() == EMFILE);
    CHECK(count == OpenFiles::usual_descriptors);
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
  CHECK(files.duplicate(0, OpenFiles::usual_descriptors).error() == EINVAL);
  for (int next = 1; next < OpenFiles::usual_descriptors; ++next) {
    REQUIRE(files.duplicate(0, 0) == next);
  }
  CHECK(files.duplicate(0, 0).error() == EMFILE);
}
