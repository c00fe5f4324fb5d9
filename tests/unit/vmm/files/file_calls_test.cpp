// SPDX-License-Identifier: MIT
#include "vmm/files/file_calls.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
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
    FileCalls::Wishes wishes;
    wishes.code = [this](const FileCalls::CodeFile& file, const FileCall& call) {
      told = {file.path, file.bytes, call.buffer_gpa, call.offset, call.length};
      opened.clear();
      for (const char* const path : {"/folder/../hello", "/none", "/folder", "/../secret"}) {
        opened += file.open(path).valid() ? '1' : '0';
      }
    };
    calls_.emplace(std::move(*mounts), *memory_, 0, std::move(wishes));
  }

  // What of a program's code was told last.
  struct Code {
    std::string path;
    std::uint64_t file_bytes = 0, address = 0, offset = 0, bytes = 0;
  };
  Code told;
  // Which other files whoever was told could open.
  std::string opened;

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

TEST_CASE("file calls: code is told with its file, and of open files only") {
  Guest guest;
  const auto file = static_cast<std::uint32_t>(guest.open("/hello"));
  const FileCall code{.operation = FileOperation::code,
                      .file = file,
                      .offset = 4096,
                      .buffer_gpa = 0x7f0000000000, // not looked at
                      .length = 8192};
  CHECK(guest.call(code) == 0);
  CHECK(guest.told.path == "/hello");
  CHECK(guest.told.file_bytes == 5);
  CHECK(guest.told.address == 0x7f0000000000);
  CHECK(guest.told.offset == 4096);
  CHECK(guest.told.bytes == 8192);
  CHECK(guest.opened == "1000"); // what the guest could, and only files
  FileCall wrong = code;
  for (const std::uint32_t number : {0U, 2U, file + 1, abi::max_open_files, ~0U}) {
    wrong.file = number;
    CHECK(guest.call(wrong) == -EBADF);
  }
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
  FileCalls host(std::move(*mounts), *memory, 0, {});
  for (const std::string_view path :
       {"/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/self/fd/0", "/proc/self/environ",
        "/proc/1/root", "/proc/cpuinfo", "/sys/kernel", "/dev/zero"}) {
    CAPTURE(path);
    std::memcpy(memory->at({path_gpa}, path.size()).data(), path.data(), path.size());
    CHECK(host.perform(
              {.operation = FileOperation::open, .path_gpa = path_gpa, .path_bytes = path.size()}) <
          0);
  }
  // Magic links are refused for what they are (ELOOP), not only because kernels refuse them so far
  // to whoever asks to stay in a root (EXDEV).
  constexpr std::string_view magic = "/proc/self/root/etc/passwd";
  std::memcpy(memory->at({path_gpa}, magic.size()).data(), magic.data(), magic.size());
  CHECK(host.perform(
            {.operation = FileOperation::open, .path_gpa = path_gpa, .path_bytes = magic.size()}) ==
        -ELOOP);
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
  for (const std::uint32_t mode : {04755U, 02755U, 010644U, 07777U}) { // another's identity
    CHECK(guest.call({.operation = FileOperation::open, .mode = mode}, "/hello") == -EINVAL);
    CHECK(guest.call({.operation = FileOperation::set_mode, .mode = mode}, "/rw") == -EINVAL);
  }
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

namespace {

std::uint64_t modified_ns(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(status.st_mtim.tv_nsec);
}

std::uint32_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

template <typename T> std::string_view bytes_of(const T& object) {
  return {reinterpret_cast<const char*>(&object), sizeof object};
}

} // namespace

TEST_CASE("file calls: names and attributes change where they may") {
  Guest guest;
  const auto with = [&guest](FileOperation operation, std::string_view path,
                             std::string_view buffer, std::uint32_t flags = 0) {
    guest.fill(buffer);
    return guest.call({.operation = operation,
                       .flags = flags,
                       .buffer_gpa = buffer_gpa,
                       .buffer_bytes = buffer.size()},
                      path);
  };
  test_support::write_content(guest.writable() / "a", "aa");
  test_support::write_content(guest.writable() / "b", "b");
  CHECK(with(FileOperation::link, "/rw/a", "/rw/again") == 0);
  CHECK(with(FileOperation::make_link, "/rw/link", "../hello") == 0);
  CHECK(std::filesystem::read_symlink(guest.writable() / "link") == "../hello");
  CHECK(with(FileOperation::rename, "/rw/a", "/rw/b", abi::file_exclusive) == -EEXIST);
  CHECK(with(FileOperation::rename, "/rw/a", "/rw/b", abi::file_exchange) == 0);
  CHECK(test_support::content(guest.writable() / "b") == "aa");
  CHECK(guest.call({.operation = FileOperation::set_mode, .mode = 0600}, "/rw/b") == 0);
  CHECK(mode_of(guest.writable() / "b") == 0600);
  const abi::FileTimes times{.accessed_ns = abi::file_time_kept, .modified_ns = 1'500'000'000};
  CHECK(with(FileOperation::set_times, "/rw/b", bytes_of(times)) == 0);
  CHECK(modified_ns(guest.writable() / "b") == 1'500'000'000);
  const abi::FileOwner owner{.user = ::getuid(), .group = ::getgid()};
  CHECK(with(FileOperation::set_owner, "/rw/b", bytes_of(owner)) == 0);
  CHECK(with(FileOperation::set_owner, "/rw/b", "short") == -EINVAL);
  abi::FileSpace space;
  CHECK(with(FileOperation::space, "/rw", bytes_of(space)) == 0);
  for (const FileOperation operation :
       {FileOperation::link, FileOperation::make_link, FileOperation::rename}) {
    CHECK(with(operation, "/hello", "/other") == -EROFS);
    CHECK(with(operation, "/rw/b", "") == -ENOENT);
  }
  CHECK(with(FileOperation::link, "/hello", "/rw/hello") == -EXDEV);
  CHECK(guest.call({.operation = FileOperation::set_mode, .mode = 0600}, "/hello") == -EROFS);
  CHECK(with(FileOperation::set_times, "/hello", bytes_of(times)) == -EROFS);
  CHECK(with(FileOperation::set_owner, "/hello", bytes_of(owner)) == -EROFS);
}

TEST_CASE("file calls: what is open for writing grows, shrinks and is appended to") {
  Guest guest;
  const FileResult file =
      guest.open("/rw", abi::file_write | abi::file_temporary | abi::file_directory);
  REQUIRE(file >= 3);
  const auto number = static_cast<std::uint32_t>(file);
  const auto put = [&](std::string_view text, std::uint32_t flags, std::uint64_t offset) {
    guest.fill(text);
    return guest.call({.operation = FileOperation::write,
                       .file = number,
                       .flags = flags,
                       .offset = offset,
                       .buffer_gpa = buffer_gpa,
                       .buffer_bytes = text.size()});
  };
  CHECK(put("one", abi::file_append, 0) == 3);
  CHECK(put("tow", abi::file_append, 1) == 3); // whatever the offset says
  CHECK(put("wo", 0, 4) == 2);                 // and there again where it does
  CHECK(guest.call({.operation = FileOperation::read,
                    .file = number,
                    .buffer_gpa = buffer_gpa,
                    .buffer_bytes = 10}) == 6);
  CHECK(guest.text(6) == "onetwo");
  const auto allocate = [&](std::uint32_t mode, std::uint64_t offset, std::uint64_t length) {
    return guest.call({.operation = FileOperation::allocate,
                       .file = number,
                       .mode = mode,
                       .offset = offset,
                       .length = length});
  };
  CHECK(allocate(0, 0, 10000) == 0);
  CHECK(allocate(3, 0, 3) == 0);              // a hole
  CHECK(allocate(8, 0, 4096) == -EOPNOTSUPP); // takes a range out
  CHECK(allocate(0, ~std::uint64_t{0}, 1) < 0);
  CHECK(allocate(0, 1, ~std::uint64_t{0}) < 0);
  CHECK(guest.call(
            {.operation = FileOperation::truncate, .file = number, .offset = ~std::uint64_t{0}}) <
        0);
  CHECK(std::filesystem::is_empty(guest.writable())); // it never had a name
  CHECK(guest.open("/", abi::file_write | abi::file_temporary | abi::file_directory) == -EROFS);
  CHECK(guest.open("/rw", abi::file_temporary) == -EINVAL);
}

TEST_CASE("file calls: no change leads out of a folder, whatever its links say") {
  Guest guest;
  std::filesystem::create_symlink(guest.outside(), guest.writable() / "secret");
  std::filesystem::create_symlink("../secret", guest.writable() / "up");
  std::filesystem::create_directory_symlink("..", guest.writable() / "dots");
  std::filesystem::create_directory_symlink(guest.root(), guest.writable() / "root");
  const auto before = modified_ns(guest.outside());
  const auto mode = mode_of(guest.outside());
  const abi::FileTimes times{.accessed_ns = 0, .modified_ns = 0};
  constexpr std::uint32_t create = abi::file_write | abi::file_create | abi::file_truncate;
  for (const std::string_view path :
       {"/rw/secret", "/rw/up", "/rw/dots/secret", "/rw/root/hello", "/rw/../secret",
        "/rw/dots/dots/../secret", "/rw/./../../secret"}) {
    CAPTURE(path);
    static_cast<void>(guest.open(path, create | abi::file_no_follow));
    static_cast<void>(guest.call({.operation = FileOperation::set_mode, .mode = 0777}, path));
    guest.fill(bytes_of(times));
    static_cast<void>(guest.call({.operation = FileOperation::set_times,
                                  .buffer_gpa = buffer_gpa,
                                  .buffer_bytes = sizeof times},
                                 path));
    for (const std::string_view to : {"/rw/dots/moved", "/rw/root/moved", "/rw/../moved"}) {
      for (const FileOperation operation :
           {FileOperation::link, FileOperation::make_link, FileOperation::rename}) {
        guest.fill(to);
        static_cast<void>(guest.call(
            {.operation = operation, .buffer_gpa = buffer_gpa, .buffer_bytes = to.size()}, path));
      }
    }
  }
  static_cast<void>(guest.call({.operation = FileOperation::remove}, "/rw/dots/secret"));
  static_cast<void>(guest.call({.operation = FileOperation::make_directory}, "/rw/dots/made"));
  static_cast<void>(guest.call({.operation = FileOperation::make_directory}, "/rw/root/made"));
  CHECK(test_support::content(guest.outside()) == "secret");
  CHECK(test_support::content(guest.inside("hello")) == "hello");
  CHECK(modified_ns(guest.outside()) == before);
  CHECK(mode_of(guest.outside()) == mode);
  for (const char* const name : {"moved", "made"}) {
    CHECK_FALSE(std::filesystem::exists(guest.root() / name));
    CHECK_FALSE(std::filesystem::exists(guest.root().parent_path() / name));
  }
}

TEST_CASE("file calls: a name that becomes a link under way leads nowhere else") {
  Guest guest;
  const std::filesystem::path name = guest.writable() / "name";
  const std::filesystem::path spare = guest.writable() / "spare";
  std::filesystem::create_symlink(guest.outside(), spare);
  test_support::write_content(name, "own");
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    while (!stop.load()) {
      static_cast<void>(::syscall(SYS_renameat2, AT_FDCWD, name.c_str(), AT_FDCWD, spare.c_str(),
                                  2U /* RENAME_EXCHANGE */));
    }
  });
  const auto mode = mode_of(guest.outside());
  for (int attempt = 0; attempt < 2000; ++attempt) {
    const FileResult file = guest.open("/rw/name", abi::file_write | abi::file_truncate);
    if (file >= 0) {
      CHECK(guest.call({.operation = FileOperation::close,
                        .file = static_cast<std::uint32_t>(file)}) == 0);
    }
    static_cast<void>(guest.call({.operation = FileOperation::set_mode, .mode = 0777}, "/rw/name"));
  }
  stop.store(true);
  swapper.join();
  CHECK(test_support::content(guest.outside()) == "secret");
  CHECK(mode_of(guest.outside()) == mode);
}

TEST_CASE("file calls: waiting for a stream ends with its time, its input or the guest") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  auto mounts = FileMounts::open("/", {});
  REQUIRE(mounts);
  const auto memory = GuestMemory::create(16 * mib, Backing::small_pages);
  FileCalls calls(std::move(*mounts), *memory, ends[0], {});
  const auto wait = [&calls](std::uint32_t file, std::uint32_t flags, std::uint64_t ns) {
    return calls.perform(
        {.operation = FileOperation::wait, .file = file, .flags = flags, .offset = ns});
  };
  CHECK(wait(3, abi::file_readable, 0) == -EBADF);
  CHECK(wait(2, 0, 1'000'000) >= 0);
  REQUIRE(::write(ends[1], "x", 1) == 1);
  CHECK(wait(2, 0, ~std::uint64_t{0}) == -EINTR);
  ::close(ends[0]);
  ::close(ends[1]);
}
