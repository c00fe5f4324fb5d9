// SPDX-License-Identifier: MIT
#include "vmm/profile/program_code.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"
#include "vmm/base/unique_fd.hpp"

extern "C" [[gnu::noinline, gnu::used]] int ebb_test_named_function(int value) {
  return value + 1;
}

using namespace vmm;

namespace {

// Where this process has a function, and where in its file that is.
struct Place {
  std::uint64_t address = 0, offset = 0;
};

Place place_of_named_function() {
  const auto address = reinterpret_cast<std::uint64_t>(&ebb_test_named_function);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long start = 0;
    unsigned long end = 0;
    unsigned long offset = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
        start <= address && address < end) {
      return {address, offset + (address - start)};
    }
  }
  return {};
}

UniqueFd open_file(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// A part of a file, as somebody who has it open would tell.
CodeMapping part(const UniqueFd& fd, const std::string& path, std::uint64_t address,
                 std::uint64_t offset, std::uint64_t bytes) {
  struct stat is {};
  static_cast<void>(::fstat(fd.get(), &is));
  return {fd.get(), path,   is.st_dev, is.st_ino, static_cast<std::uint64_t>(is.st_size),
          address,  offset, bytes};
}

} // namespace

TEST_CASE("program code: a function by its file, wherever the file is mapped") {
  const UniqueFd self = open_file("/proc/self/exe");
  const Place place = place_of_named_function();
  REQUIRE(place.offset != 0);
  ProgramCode code;
  constexpr std::uint64_t there = 0x7f0000000000;
  code.add(part(self, "/usr/bin/unit_tests", there, place.offset, 4096));
  CHECK(code.function_at(code.place_of(there)) == "ebb_test_named_function");
  CHECK(code.function_at(code.place_of(there - 1)).empty());
  CHECK(code.function_at(code.place_of(there + 4096)).empty());
  CHECK(code.place_of(there - 1) == there - 1);
  // What was seen keeps its meaning when another file takes its place.
  const std::uint64_t seen = code.place_of(there);
  const test_support::TemporaryFolder folder;
  const std::string other = (folder.path() / "other.so").string();
  test_support::write_content(other, "no ELF file");
  const UniqueFd other_fd = open_file(other);
  code.add(part(other_fd, other, there, 0, 4096));
  CHECK(code.function_at(seen) == "ebb_test_named_function");
  CHECK(code.function_at(code.place_of(there)) == "[other.so]");
}

TEST_CASE("program code: what is said last counts, and what it leaves of earlier ones stays") {
  const test_support::TemporaryFolder folder;
  const auto file = [&folder](const char* name) {
    const std::string path = (folder.path() / name).string();
    test_support::write_content(path, name);
    return path;
  };
  const std::string a = file("a");
  const std::string b = file("b");
  const UniqueFd fd_a = open_file(a);
  const UniqueFd fd_b = open_file(b);
  ProgramCode code;
  const auto at = [&code](std::uint64_t address) {
    return code.function_at(code.place_of(address));
  };
  code.add(part(fd_a, a, 0x10000, 0x1000, 0x9000));
  code.add(part(fd_b, b, 0x12000, 0, 0x1000)); // in its middle
  CHECK(at(0x11fff) == "[a]");
  CHECK(at(0x12000) == "[b]");
  CHECK(at(0x13000) == "[a]");
  CHECK(code.place_of(0x13000) - code.place_of(0x10000) == 0x3000);
  code.add(part(fd_b, b, 0x11000, 0, 0x3000)); // over both
  CHECK(at(0x10fff) == "[a]");
  CHECK(at(0x13fff) == "[b]");
  CHECK(at(0x14000) == "[a]");
  CHECK(at(0x19000).empty());
}

TEST_CASE("program code: a guest can say anything") {
  ProgramCode code;
  constexpr std::uint64_t most = ~std::uint64_t{0};
  const UniqueFd self = open_file("/proc/self/exe");
  code.add(part(self, "x", most - 10, 0, 100));
  code.add(part(self, "x", 0x1000, most - 10, 100));
  code.add(part(self, "x", 0x1000, 0, most));
  code.add(part(self, "x", 0x1000, 0, 0));
  code.add(part(UniqueFd(), "x", 0x1000, 0, 4096));
  CHECK(code.function_at(code.place_of(0x1000)) == "[x]"); // nothing is known of it
  CHECK(code.function_at(code.place_of(most - 5)).empty());
  CHECK(code.function_at(code.place_of(0x0001'0000'0000'1000)).empty()); // as a stack may hold it
  CHECK(code.function_at(most).empty());
  // Pieces without end.
  const test_support::TemporaryFolder folder;
  const std::string path = (folder.path() / "f").string();
  test_support::write_content(path, "f");
  const UniqueFd fd = open_file(path);
  code.add(part(fd, path, 0x100000, 0, std::uint64_t{1} << 30));
  for (std::uint64_t piece = 0; piece < ProgramCode::most_mappings + 1000; ++piece) {
    code.add(part(fd, path, 0x100000 + piece * 16, 0, 8));
  }
  CHECK(code.function_at(code.place_of(0x100000)) == "[f]");
}
