// SPDX-License-Identifier: MIT
#include "vmm/io/mapped_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"

namespace {

constexpr std::uint64_t limit = std::uint64_t{1} << 20;

std::string refusal(const std::string& path) {
  const auto file = vmm::MappedFile::open(path, limit);
  REQUIRE_FALSE(file.has_value());
  return file.error().message;
}

} // namespace

TEST_CASE("a file is read where it lies, and what is gone of it reads as zeroes") {
  const test_support::TemporaryFolder folder;
  const std::string path = folder / "file";
  constexpr std::size_t bytes = 3 * 4096 + 5;
  std::ofstream(path) << std::string(bytes, 'x');
  const auto file = vmm::MappedFile::open(path, limit);
  REQUIRE(file.has_value());
  REQUIRE(file->bytes().size() == bytes);
  CHECK(std::to_integer<char>(file->bytes().back()) == 'x');
  file->release(2 * 4096 + 7);
  CHECK(std::to_integer<char>(file->bytes().front()) == 'x');
  CHECK_FALSE(file->torn());
  std::filesystem::resize_file(path, 4096);
  CHECK(std::to_integer<char>(file->bytes().front()) == 'x');
  CHECK_FALSE(file->torn());
  CHECK(std::to_integer<int>(file->bytes().back()) == 0);
  CHECK(file->torn());
}

TEST_CASE("what is no file to be read is refused in one line that names it") {
  const test_support::TemporaryFolder folder;
  const std::string path = folder / "file";
  CHECK(refusal(path) == path + ": cannot open: No such file or directory");
  CHECK(refusal(folder.path().string()) == folder.path().string() + ": not a regular file");
  std::ofstream{path};
  CHECK(refusal(path) == path + ": the file is empty");
  std::filesystem::resize_file(path, limit + 1);
  CHECK(refusal(path) == path + ": 1048577 bytes is more than the limit of 1048576");
  std::filesystem::resize_file(path, limit);
  CHECK(vmm::MappedFile::open(path, limit).has_value());
  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(refusal(pipe) == pipe + ": not a regular file");
}
