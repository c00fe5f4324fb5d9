// SPDX-License-Identifier: MIT
#include "vmm/profile/program_code.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/elf_builder.hpp"
#include "tests/support/temporary_folder.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/profile/place_names.hpp"

constexpr unsigned line_of_named_function = __LINE__ + 1;
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

// Opens what the host has.
CodeMapping with_files(CodeMapping mapping) {
  mapping.open = open_file;
  return mapping;
}

} // namespace

TEST_CASE("program code: lines of source where they are wanted, of the file itself") {
  const UniqueFd self = open_file("/proc/self/exe");
  const Place place = place_of_named_function();
  const std::string path = std::filesystem::read_symlink("/proc/self/exe").string();
  constexpr std::uint64_t there = 0x7f0000000000;
  ProgramCode code(CodeLines::read);
  code.add(with_files(part(self, path, there, place.offset, 4096)));
  CHECK(code.line_at(code.place_of(there)) ==
        "tests/unit/vmm/profile/program_code_test.cpp:" + std::to_string(line_of_named_function));
  CHECK(code.line_at(code.place_of(there - 1)).empty());
  const Symbols image;
  const FunctionNames names = place_names(code, image, CodeLines::read);
  CHECK(names(code.place_of(there)) ==
        "ebb_test_named_function (tests/unit/vmm/profile/program_code_test.cpp:" +
            std::to_string(line_of_named_function) + ")");
  CHECK(place_names(code, image, CodeLines::no)(code.place_of(there)) == "ebb_test_named_function");
  CHECK(names(there - 1).empty());
  ProgramCode without(CodeLines::no);
  without.add(with_files(part(self, path, there, place.offset, 4096)));
  CHECK(without.line_at(without.place_of(there)).empty());
  // Its name leads to another file by now.
  ProgramCode moved(CodeLines::read);
  moved.add(with_files(part(self, "/bin/sh", there, place.offset, 4096)));
  CHECK(moved.function_at(moved.place_of(there)) == "ebb_test_named_function");
  CHECK(moved.line_at(moved.place_of(there)).empty());
}

TEST_CASE("program code: lines and names out of a separate file, by build id and by link") {
  const test_support::TemporaryFolder folder;
  const auto write = [&folder](const char* name, const std::vector<std::byte>& bytes) {
    std::string path = (folder.path() / name).string();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  };
  constexpr std::uint64_t code_at = 0x401000;
  constexpr std::uint64_t offset = 0x40; // only the program's own segments say so
  const auto lines = test_support::line_unit(5, code_at).get();
  const auto id = [](std::uint32_t last) {
    return test_support::Bytes()
        .put(std::uint32_t{4})
        .put(std::uint32_t{8})
        .put(std::uint32_t{NT_GNU_BUILD_ID})
        .text("GNU")
        .put(std::uint32_t{0x030201ab})
        .put(last)
        .get();
  };
  const auto with_id = [&](std::uint32_t last) {
    return test_support::ElfBuilder()
        .segment(code_at, offset, 0x200)
        .section(".note.gnu.build-id", SHT_NOTE, id(last));
  };
  const auto debug = [&](std::uint32_t last) {
    return with_id(last)
        .segment(code_at, 0, 0x200)
        .section(".debug_line", SHT_PROGBITS, lines)
        .bytes();
  };
  const std::string right = write("right", debug(0x07060504));
  const std::string other = write("other", debug(0x07060505));
  std::vector<std::string> asked;
  const auto line_of = [&](const std::string& program, const std::string& has) {
    asked.clear();
    const UniqueFd fd = open_file(program);
    CodeMapping mapping = part(fd, "/usr/bin/program", 0x10000, offset, 0x100);
    mapping.open = [&asked, has](const std::string& path) {
      asked.push_back(path);
      return path == asked.front() || has.ends_with("linked") ? open_file(has) : UniqueFd();
    };
    ProgramCode code(CodeLines::read);
    code.add(mapping);
    return code.line_at(code.place_of(0x10004));
  };
  const std::string program = write("program", with_id(0x07060504).bytes());
  CHECK(line_of(program, right) == "a.cpp:12");
  CHECK(asked == std::vector<std::string>{"/usr/lib/debug/.build-id/ab/01020304050607.debug"});
  CHECK(line_of(program, other).empty());
  CHECK(line_of(program, folder.path() / "nothing").empty());

  const auto linked_debug =
      test_support::ElfBuilder().section(".debug_line", SHT_PROGBITS, lines).bytes();
  const std::string linked = write("linked", linked_debug);
  const auto sum =
      static_cast<std::uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(linked_debug.data()),
                                         static_cast<uInt>(linked_debug.size())));
  const auto with_link = [&](const char* name, std::uint32_t checksum) {
    return write(name, test_support::ElfBuilder()
                           .segment(code_at, offset, 0x200)
                           .section(".gnu_debuglink", SHT_PROGBITS,
                                    test_support::Bytes().text("p.debug").put(checksum).get())
                           .bytes());
  };
  CHECK(line_of(with_link("by_link", sum), linked) == "a.cpp:12");
  CHECK(asked == std::vector<std::string>{"/usr/bin/p.debug"});
  CHECK(line_of(with_link("by_wrong_link", sum + 1), linked).empty());
  CHECK(asked == std::vector<std::string>{"/usr/bin/p.debug", "/usr/bin/.debug/p.debug",
                                          "/usr/lib/debug/usr/bin/p.debug"});
}

TEST_CASE("program code: a function by its file, wherever the file is mapped") {
  const UniqueFd self = open_file("/proc/self/exe");
  const Place place = place_of_named_function();
  REQUIRE(place.offset != 0);
  ProgramCode code(CodeLines::no);
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
  ProgramCode code(CodeLines::no);
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
  ProgramCode code(CodeLines::no);
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
