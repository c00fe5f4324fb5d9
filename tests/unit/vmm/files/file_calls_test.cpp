// SPDX-License-Identifier: MIT
#include "vmm/files/file_calls.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"
#include "vmm/base/units.hpp"

using namespace vmm;
using abi::FileCall;
using abi::FileOperation;
using abi::FileResult;

namespace {

constexpr std::uint64_t path_gpa = mib;
constexpr std::uint64_t buffer_gpa = 2 * mib;

// A guest that sees `root`, and `writable` at /rw.
class Guest {
 public:
  Guest() {
    std::filesystem::create_directories(inside("folder"));
    std::filesystem::create_directories(writable());
    std::filesystem::create_directories(root() / "rw");
    test_support::write_content(inside("hello"), "hello");
    test_support::write_content(outside(), "secret");
    auto mounts = FileMounts::open(
        root().string(),
        std::vector{ProgramMount{writable().string(), "/rw", MountAccess::read_write}});
    REQUIRE(mounts);
    calls_.emplace(std::move(*mounts), *memory_, 0);
  }

  [[nodiscard]] std::filesystem::path root() const { return folder_.path() / "root"; }
  [[nodiscard]] std::filesystem::path writable() const { return folder_.path() / "writable"; }
  [[nodiscard]] std::filesystem::path outside() const { return folder_.path() / "secret"; }
  [[nodiscard]] std::filesystem::path inside(const char* name) const { return root() / name; }

  FileResult call(FileCall call, std::string_view path = {}) {
    if (!path.empty()) {
      std::memcpy(memory_->at({path_gpa}, path.size()).data(), path.data(), path.size());
      call.path_gpa = path_gpa;
      call.path_bytes = path.size();
    }
    return calls_->perform(call);
  }
  FileResult open(std::string_view path, std::uint32_t flags = 0) {
    return call({.operation = FileOperation::open, .flags = flags, .mode = 0644}, path);
  }
  // All of a file, or what the error number says.
  std::string read(std::string_view path) {
    const FileResult file = open(path);
    if (file < 0) {
      return std::strerror(static_cast<int>(-file)); // NOLINT(concurrency-mt-unsafe)
    }
    const FileResult got = call({.operation = FileOperation::read,
                                 .file = static_cast<std::uint32_t>(file),
                                 .buffer_gpa = buffer_gpa,
                                 .buffer_bytes = 100});
    CHECK(call({.operation = FileOperation::close, .file = static_cast<std::uint32_t>(file)}) == 0);
    return got < 0 ? "not readable" : text(static_cast<std::size_t>(got));
  }
  std::string text(std::size_t bytes) {
    return {reinterpret_cast<const char*>(memory_->at({buffer_gpa}, bytes).data()), bytes};
  }
  void fill(std::string_view text) {
    std::memcpy(memory_->at({buffer_gpa}, text.size()).data(), text.data(), text.size());
  }

 private:
  test_support::TemporaryFolder folder_;
  Result<GuestMemory> memory_ = GuestMemory::create(16 * mib, Backing::small_pages);
  std::optional<FileCalls> calls_;
};

std::string no_entry() {
  return std::strerror(ENOENT); // NOLINT(concurrency-mt-unsafe)
}

} // namespace

TEST_CASE("file calls: a file is opened, read and closed") {
  Guest guest;
  CHECK(guest.read("/hello") == "hello");
  CHECK(guest.read("hello") == "hello");
  CHECK(guest.read("//folder/..///hello") == "hello");
  CHECK(guest.read("/none") == no_entry());
}

TEST_CASE("file calls: no path leads out of the root") {
  Guest guest;
  for (const char* const path : {"../secret", "/../secret", "/folder/../../secret",
                                 "/../../../../../../../../../../etc/passwd"}) {
    CAPTURE(path);
    CHECK(guest.read(path) == no_entry());
  }
  CHECK(guest.read(guest.outside().string()) == no_entry());
  std::filesystem::create_symlink(guest.outside(), guest.inside("absolute"));
  std::filesystem::create_symlink("../secret", guest.inside("relative"));
  std::filesystem::create_directory_symlink("..", guest.inside("up"));
  CHECK(guest.read("/absolute") == no_entry());
  CHECK(guest.read("/relative") == no_entry());
  CHECK(guest.read("/up/secret") == no_entry());
  std::filesystem::create_symlink("/hello", guest.inside("good"));
  CHECK(guest.read("/good") == "hello");
  // Nor from one directory that it sees into another by a link.
  std::filesystem::create_symlink(guest.inside("hello"), guest.writable() / "over");
  CHECK(guest.read("/rw/over") == no_entry());
  CHECK(guest.read("/rw/../secret") == no_entry());
}

TEST_CASE("file calls: what does something when it is opened is not, nor are proc and sys") {
  Guest guest;
  REQUIRE(::mkfifo(guest.inside("pipe").c_str(), 0666) == 0);
  CHECK(guest.open("/pipe") == -EACCES);
  auto mounts = FileMounts::open("/", {});
  REQUIRE(mounts);
  const auto memory = GuestMemory::create(16 * mib, Backing::small_pages);
  FileCalls host(std::move(*mounts), *memory, 0);
  for (const std::string_view path :
       {"/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/self/fd/0", "/proc/self/environ",
        "/proc/1/root", "/proc/cpuinfo", "/sys/kernel", "/dev/zero"}) {
    CAPTURE(path);
    std::memcpy(memory->at({path_gpa}, path.size()).data(), path.data(), path.size());
    CHECK(host.perform(
              {.operation = FileOperation::open, .path_gpa = path_gpa, .path_bytes = path.size()}) <
          0);
  }
}

TEST_CASE("file calls: nothing changes where nothing may") {
  Guest guest;
  constexpr std::uint32_t create = abi::file_write | abi::file_create;
  CHECK(guest.open("/hello", abi::file_write) == -EROFS);
  CHECK(guest.open("/new", create) == -EROFS);
  CHECK(guest.open("/hello", abi::file_truncate) == -EINVAL);
  CHECK(guest.call({.operation = FileOperation::remove}, "/hello") == -EROFS);
  CHECK(guest.call({.operation = FileOperation::make_directory, .mode = 0755}, "/dir") == -EROFS);
  guest.fill("/rw/moved");
  CHECK(
      guest.call({.operation = FileOperation::rename, .buffer_gpa = buffer_gpa, .buffer_bytes = 9},
                 "/hello") == -EXDEV);
  const FileResult file = guest.open("/hello");
  REQUIRE(file >= 3);
  for (const FileOperation operation : {FileOperation::write, FileOperation::truncate}) {
    CHECK(guest.call({.operation = operation,
                      .file = static_cast<std::uint32_t>(file),
                      .buffer_gpa = buffer_gpa,
                      .buffer_bytes = 5}) < 0);
  }
  CHECK(test_support::content(guest.inside("hello")) == "hello");
}

TEST_CASE("file calls: where something may change, it does") {
  Guest guest;
  const FileResult file = guest.open("/rw/new", abi::file_write | abi::file_create);
  REQUIRE(file >= 3);
  const auto number = static_cast<std::uint32_t>(file);
  guest.fill("content");
  CHECK(guest.call({.operation = FileOperation::write,
                    .file = number,
                    .offset = 2,
                    .buffer_gpa = buffer_gpa,
                    .buffer_bytes = 7}) == 7);
  CHECK(guest.call({.operation = FileOperation::truncate, .file = number, .offset = 5}) == 0);
  CHECK(guest.call({.operation = FileOperation::sync, .file = number}) == 0);
  CHECK(test_support::content(guest.writable() / "new") == std::string("\0\0con", 5));
  CHECK(guest.open("/rw/new", abi::file_write | abi::file_create | abi::file_exclusive) == -EEXIST);
  CHECK(guest.call({.operation = FileOperation::make_directory, .mode = 0755}, "/rw/dir") == 0);
  guest.fill("/rw/dir/moved");
  CHECK(
      guest.call({.operation = FileOperation::rename, .buffer_gpa = buffer_gpa, .buffer_bytes = 13},
                 "/rw/new") == 0);
  CHECK(std::filesystem::exists(guest.writable() / "dir" / "moved"));
  CHECK(guest.call({.operation = FileOperation::remove}, "/rw/dir") == -EISDIR);
  CHECK(guest.call({.operation = FileOperation::remove}, "/rw/dir/moved") == 0);
  CHECK(guest.call({.operation = FileOperation::remove, .flags = abi::file_directory}, "/rw/dir") ==
        0);
  for (const char* const path : {"/rw", "/rw/", "/rw/.", "/rw/dir/.."}) {
    CAPTURE(path);
    CHECK(guest.call({.operation = FileOperation::remove, .flags = abi::file_directory}, path) < 0);
  }
  CHECK(std::filesystem::exists(guest.writable()));
}

TEST_CASE("file calls: numbers, lengths and addresses that make no sense are answered") {
  Guest guest;
  const FileResult file = guest.open("/hello");
  REQUIRE(file >= 3);
  const auto number = static_cast<std::uint32_t>(file);
  for (const std::uint32_t bad : {number + 1, abi::max_open_files, ~std::uint32_t{0}}) {
    CHECK(guest.call({.operation = FileOperation::read,
                      .file = bad,
                      .buffer_gpa = buffer_gpa,
                      .buffer_bytes = 1}) == -EBADF);
    CHECK(guest.call({.operation = FileOperation::close, .file = bad}) == -EBADF);
    CHECK(guest.call({.operation = FileOperation::list,
                      .file = bad,
                      .buffer_gpa = buffer_gpa,
                      .buffer_bytes = 100}) == -EBADF);
  }
  CHECK(guest.call({.operation = FileOperation::close, .file = 1}) == -EBADF); // the vmm's own
  const std::uint64_t end = 16 * mib;
  const std::uint64_t huge = ~std::uint64_t{0};
  for (const auto& [gpa, bytes] :
       {std::pair{end, std::uint64_t{1}}, std::pair{end - 1, std::uint64_t{2}},
        std::pair{huge, std::uint64_t{1}}, std::pair{huge - 1, mib}}) {
    CHECK(guest.call({.operation = FileOperation::read,
                      .file = number,
                      .buffer_gpa = gpa,
                      .buffer_bytes = bytes}) == -EFAULT);
    CHECK(guest.call({.operation = FileOperation::open, .path_gpa = gpa, .path_bytes = bytes}) < 0);
  }
  CHECK(guest.call({.operation = FileOperation::read,
                    .file = number,
                    .buffer_gpa = 0,
                    .buffer_bytes = abi::file_transfer_bytes + 1}) == -EINVAL);
  CHECK(guest.call({.operation = FileOperation::read,
                    .file = number,
                    .flags = 1U << 31,
                    .buffer_gpa = buffer_gpa,
                    .buffer_bytes = 1}) == -EINVAL);
  CHECK(guest.call({.operation = FileOperation::open, .mode = 07777}, "/hello") == -EINVAL);
  CHECK(guest.call({.operation = static_cast<FileOperation>(99)}) == -ENOSYS);
  CHECK(guest.open(std::string(5000, 'a')) == -ENAMETOOLONG);
  CHECK(guest.open(std::string_view("a\0b", 3)) == -EINVAL);
  CHECK(guest.call({.operation = FileOperation::random,
                    .buffer_gpa = buffer_gpa,
                    .buffer_bytes = abi::random_bytes + 1}) == -EINVAL);
}

TEST_CASE("file calls: as many files as there are numbers, and no more") {
  Guest guest;
  std::vector<FileResult> files;
  for (FileResult file = guest.open("/hello"); file >= 0; file = guest.open("/hello")) {
    files.push_back(file);
  }
  CHECK(files.size() > 100);
  CHECK(files.size() <= abi::max_open_files - 3);
  CHECK(guest.open("/hello") == -EMFILE);
  CHECK(guest.call({.operation = FileOperation::close,
                    .file = static_cast<std::uint32_t>(files.back())}) == 0);
  CHECK(guest.open("/hello") == files.back());
}
