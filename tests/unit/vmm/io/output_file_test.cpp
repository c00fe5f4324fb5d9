// SPDX-License-Identifier: MIT
#include "vmm/io/output_file.hpp"

#include <array>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "tests/support/temporary_folder.hpp"
#include "vmm/io/shared_files.hpp"

using namespace vmm;
using test_support::content;
using test_support::TemporaryFolder;
using test_support::write_content;

namespace {

Result<void> write(const std::string& path, std::string_view text) {
  EBB_TRY_ASSIGN(file, OutputFile::open("--stats", path));
  return file.write(text);
}

struct stat status_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status;
}

// While it lives, `fd` is another file.
class Redirected {
 public:
  Redirected(int fd, int to) : fd_(fd), saved_(::dup(fd)) { REQUIRE(::dup2(to, fd) == fd); }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;
  ~Redirected() { ::dup2(saved_.get(), fd_); }

 private:
  int fd_;
  UniqueFd saved_;
};

} // namespace

TEST_CASE("a new output is there when it is complete, with the mode that the umask leaves") {
  const TemporaryFolder dir;
  const mode_t before = ::umask(027);
  {
    auto file = OutputFile::open("--stats", dir / "s.json");
    REQUIRE(file.has_value());
    REQUIRE(file->append("one ").has_value());
    CHECK(dir.entries() == 0);
    REQUIRE(file->append("two").has_value());
    REQUIRE(file->finish().has_value());
  }
  ::umask(before);
  CHECK(content(dir / "s.json") == "one two");
  CHECK((status_of(dir / "s.json").st_mode & 07777) == 0640);
  CHECK(dir.entries() == 1);
}

TEST_CASE("an output that is never finished leaves what was there") {
  const TemporaryFolder dir;
  write_content(dir / "old", "old content");
  for (const char* const name : {"new", "old"}) {
    auto file = OutputFile::open("--stats", dir / name);
    REQUIRE(file.has_value());
    REQUIRE(file->append("half").has_value());
  }
  CHECK(content(dir / "old") == "old content");
  CHECK(dir.entries() == 1);
}

TEST_CASE("a file that exists keeps inode, mode and its other names") {
  const TemporaryFolder dir;
  for (const char* const old : {"short", "old content that is much longer than the new one"}) {
    write_content(dir / "file", old);
    REQUIRE(::chmod((dir / "file").c_str(), 0604) == 0);
    ::link((dir / "file").c_str(), (dir / "hard").c_str());
    ::symlink("file", (dir / "soft").c_str());
    const struct stat before = status_of(dir / "file");
    for (const char* const name : {"file", "hard", "soft"}) {
      const std::string text = std::string("new content by ") + name;
      REQUIRE(write(dir / name, text).has_value());
      CHECK(content(dir / "file") == text);
      CHECK(content(dir / "hard") == text);
    }
    CHECK(status_of(dir / "file").st_ino == before.st_ino);
    CHECK(status_of(dir / "file").st_mode == before.st_mode);
    CHECK(S_ISLNK(status_of(dir / "soft").st_mode));
    CHECK(dir.entries() == 3);
  }
}

TEST_CASE("a file in a folder that takes no new ones is written") {
  if (::geteuid() == 0) {
    // Root may write there all the same; the file is what counts.
    MESSAGE("as root, without the folder's protection");
  }
  const TemporaryFolder dir;
  write_content(dir / "file", "old");
  REQUIRE(::chmod(dir.path().c_str(), 0555) == 0);
  CHECK(write(dir / "file", "new").has_value());
  CHECK(content(dir / "file") == "new");
  REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
}

TEST_CASE("a dangling link stays one, and its target is made") {
  const TemporaryFolder dir;
  std::filesystem::create_directory(dir.path() / "folder");
  ::symlink("two", (dir / "one").c_str());
  ::symlink("folder/target", (dir / "two").c_str());
  REQUIRE(write(dir / "one", "text").has_value());
  CHECK(content(dir / "folder/target") == "text");
  CHECK(S_ISLNK(status_of(dir / "one").st_mode));
  CHECK(S_ISLNK(status_of(dir / "two").st_mode));
  ::symlink("loop", (dir / "loop").c_str());
  CHECK_FALSE(write(dir / "loop", "text").has_value());
}

TEST_CASE("standard output by any name is written from where it stands") {
  const TemporaryFolder dir;
  ::symlink("/proc/self/fd/1", (dir / "link").c_str());
  for (const std::string& path : {std::string("-"), std::string("/dev/stdout"),
                                  std::string("/proc/self/fd/1"), dir / "link", dir / "out"}) {
    CAPTURE(path);
    {
      const UniqueFd out(
          ::open((dir / "out").c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644));
      const Redirected redirected(STDOUT_FILENO, out.get());
      REQUIRE(::write(STDOUT_FILENO, "summary ", 8) == 8);
      REQUIRE(write(path, "statistics").has_value());
      REQUIRE(::write(STDOUT_FILENO, " after", 6) == 6);
    }
    CHECK(content(dir / "out") == "summary statistics after");
  }
  CHECK(S_ISLNK(status_of(dir / "link").st_mode));
  CHECK(S_ISLNK(status_of("/dev/stdout").st_mode));
}

TEST_CASE("a socket that is a descriptor is written to") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  REQUIRE(write("/dev/fd/" + std::to_string(theirs.get()), "text").has_value());
  std::array<char, 8> got{};
  CHECK(::read(ours.get(), got.data(), got.size()) == 4);
}

TEST_CASE("pipes and devices are written to and stay") {
  const TemporaryFolder dir;
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  const UniqueFd reader(::open((dir / "pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  REQUIRE(write(dir / "pipe", "text").has_value());
  std::array<char, 8> got{};
  CHECK(::read(reader.get(), got.data(), got.size()) == 4);
  CHECK(S_ISFIFO(status_of(dir / "pipe").st_mode));
  CHECK(write("/dev/null", "text").has_value());
  const auto full = write("/dev/full", "text");
  REQUIRE_FALSE(full.has_value());
  CHECK(full.error().error_class == ErrorClass::environment);
  CHECK(full.error().message == "--stats /dev/full: cannot be written: No space left on device");
}

TEST_CASE("what cannot be an output is one line and changes nothing") {
  const TemporaryFolder dir;
  std::filesystem::create_directory(dir.path() / "folder");
  write_content(dir / "file", "text");
  for (const std::string& path :
       {dir / "absent/s.json", dir / "folder", dir / "folder/", dir / "file/s.json", std::string(),
        std::string("/proc/self/fd/999999"), std::string("/proc/version")}) {
    CAPTURE(path);
    const auto opened = OutputFile::open("--stats", path);
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().error_class == ErrorClass::user);
    CHECK(opened.error().message.starts_with("--stats " + path));
    CHECK(opened.error().message.find('\n') == std::string::npos);
  }
  CHECK(dir.entries() == 2);
  CHECK(content(dir / "file") == "text");
}

TEST_CASE("a file that may grow no further keeps what it had") {
  const TemporaryFolder dir;
  write_content(dir / "file", std::string(3000, 'o'));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit narrow{4096, before.rlim_max};
  auto file = OutputFile::open("--stats", dir / "file");
  REQUIRE(file.has_value());
  REQUIRE(file->append(std::string(5000, 'n')).has_value());
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &narrow) == 0);
  const auto finished = file->finish();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, previous);
  REQUIRE_FALSE(finished.has_value());
  CHECK(finished.error().message.ends_with("cannot be written: File too large"));
  CHECK(content(dir / "file") == std::string(3000, 'o'));
}

TEST_CASE("an output whose file has appeared or gone meanwhile") {
  const TemporaryFolder dir;
  auto first = OutputFile::open("--stats", dir / "s");
  auto second = OutputFile::open("--stats", dir / "s");
  REQUIRE(first->write("first").has_value());
  REQUIRE(second->write("second").has_value());
  CHECK(content(dir / "s") == "second");
  CHECK(dir.entries() == 1);

  auto third = OutputFile::open("--stats", dir / "s");
  ::unlink((dir / "s").c_str());
  CHECK_FALSE(third->write("third").has_value());

  auto fourth = OutputFile::open("--stats", dir / "s");
  ::symlink("/dev/null", (dir / "s").c_str());
  CHECK_FALSE(fourth->write("fourth").has_value());
  CHECK(S_ISLNK(status_of(dir / "s").st_mode));
  CHECK(dir.entries() == 1);
}

TEST_CASE("a file that another process writes is no output") {
  const TemporaryFolder dir;
  write_content(dir / "t", "trace");
  const UniqueFd writer(::open((dir / "t").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::flock(writer.get(), LOCK_EX | LOCK_NB) == 0);
  const auto opened = OutputFile::open("--stats", dir / "t");
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().message.ends_with("another process is writing it"));
}

TEST_CASE("one file by two names is seen when either is written") {
  using Use = NamedFile::Use;
  const TemporaryFolder dir;
  write_content(dir / "file", "text");
  write_content(dir / "other", "text");
  ::link((dir / "file").c_str(), (dir / "hard").c_str());
  ::symlink("file", (dir / "soft").c_str());
  ::symlink("absent", (dir / "dangling").c_str());
  const auto refused = [&](const std::string& a, Use use, const std::string& b) {
    const std::array files{NamedFile{"a", a, use}, NamedFile{"b", b, Use::written}};
    return !refuse_shared_files(files).has_value();
  };
  for (const Use use : {Use::read, Use::written}) {
    CHECK(refused(dir / "file", use, dir / "file"));
    CHECK(refused(dir / "file", use, dir / "hard"));
    CHECK(refused(dir / "soft", use, dir / "hard"));
    CHECK(refused(dir / "absent", use, dir.path().string() + "/./absent"));
    CHECK(refused(dir / "dangling", use, dir / "absent"));
    CHECK_FALSE(refused(dir / "file", use, dir / "other"));
    CHECK_FALSE(refused(dir / "absent", use, dir / "absent2"));
    CHECK_FALSE(refused("/dev/null", use, "/dev/null"));
    CHECK_FALSE(refused(dir / "nowhere/x", use, dir / "nowhere/x"));
  }
  const std::array read_twice{NamedFile{"a", dir / "file", Use::read},
                              NamedFile{"b", dir / "soft", Use::read}};
  CHECK(refuse_shared_files(read_twice).has_value());
  const std::array written_first{NamedFile{"--trace", dir / "hard", Use::written},
                                 NamedFile{"the image", dir / "file", Use::read}};
  CHECK(refuse_shared_files(written_first).error().message ==
        "--trace " + (dir / "hard") + ": is the same file as the image " + (dir / "file") +
            "; name another one");
}
