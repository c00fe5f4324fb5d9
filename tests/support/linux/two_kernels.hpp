// SPDX-License-Identifier: MIT
// The same calls asked of two kernels: this host's, and the guest's.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "tests/support/linux/hosted_process.hpp"
#include "tests/support/temporary_folder.hpp"

namespace test_support {

inline constexpr std::string_view file_text = "some text that a file has";

// A kernel, and what a program has there: a file of that text open for both, a folder, both ends of
// a pipe and of a pair of sockets, and memory.
class World {
 public:
  virtual ~World() = default;
  virtual long call(long number, const std::array<std::uint64_t, 6>& args) = 0;
  [[nodiscard]] virtual bool is_host() const { return false; }

  template <typename... Args> long ask(long number, Args... args) {
    return call(number, {static_cast<std::uint64_t>(args)...});
  }
  [[nodiscard]] std::uint64_t put_text(std::uint64_t at, const std::string& text) {
    std::memcpy(pointer(at), text.c_str(), text.size() + 1);
    return at;
  }
  static char* pointer(std::uint64_t address) {
    return reinterpret_cast<char*>(address); // NOLINT(performance-no-int-to-ptr)
  }

  // Everything as it is at the start of a call.
  void prepare() {
    const std::uint64_t path = own;
    for (const char* const name : {"/new", "/other", "/link"}) {
      ask(SYS_unlink, put_text(path, folder_path + name));
      ask(SYS_rmdir, path);
    }
    ask(SYS_symlink, put_text(path, "file"), put_text(path + 512, folder_path + "/link"));
    ask(SYS_mkdir, put_text(path, folder_path), 0755);
    for (const std::uint64_t used : {file, folder, pipe[0], pipe[1], socket, other_socket}) {
      ask(SYS_close, used);
    }
    file = static_cast<std::uint64_t>(
        ask(SYS_open, put_text(path, folder_path + "/file"), O_CREAT | O_RDWR | O_TRUNC, 0644));
    ask(SYS_write, file, put_text(path, std::string(file_text)), file_text.size());
    ask(SYS_lseek, file, 0, SEEK_SET);
    folder = static_cast<std::uint64_t>(
        ask(SYS_open, put_text(path, folder_path), O_RDONLY | O_DIRECTORY));
    REQUIRE(ask(SYS_pipe2, path, O_NONBLOCK) == 0); // nobody is there to be waited for
    std::array<std::int32_t, 2> ends{};
    std::memcpy(ends.data(), pointer(path), sizeof ends);
    pipe = {static_cast<std::uint64_t>(ends[0]), static_cast<std::uint64_t>(ends[1])};
    REQUIRE(ask(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, path) == 0);
    std::memcpy(ends.data(), pointer(path), sizeof ends);
    socket = static_cast<std::uint64_t>(ends[0]);
    other_socket = static_cast<std::uint64_t>(ends[1]);
    std::memset(pointer(memory), 0x11, abi::page_bytes);
    std::memset(pointer(own), 0, abi::page_bytes);
  }

  std::string folder_path;
  std::uint64_t memory = 0;    // a page, with nothing to be had behind it
  std::uint64_t constants = 0; // one that may only be read
  std::uint64_t nothing = 0;   // one without rights
  std::uint64_t own = 0;       // for prepare()
  std::uint64_t file = ~0U;
  std::uint64_t folder = ~0U;
  std::array<std::uint64_t, 2> pipe{~0U, ~0U};
  std::uint64_t socket = ~0U; // one end of a pair
  std::uint64_t other_socket = ~0U;

 protected:
  void make_memory() {
    const auto map = [this](int rights) {
      const auto at = static_cast<std::uint64_t>(
          ask(SYS_mmap, 0, 2 * abi::page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      REQUIRE(ask(SYS_mprotect, at, abi::page_bytes, rights) == 0);
      return at;
    };
    memory = map(PROT_READ | PROT_WRITE);
    own = map(PROT_READ | PROT_WRITE);
    constants = map(PROT_READ);
    nothing = map(PROT_NONE);
  }
};

// What calls change of the process that makes them: this one, whose other tests want it back.
class KeptProcess {
 public:
  KeptProcess() : directory_(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)), mask_(::umask(0)) {
    ::umask(mask_);
    ::sigprocmask(SIG_SETMASK, nullptr, &blocked_);
    ::sigaction(SIGUSR2, nullptr, &action_);
  }
  ~KeptProcess() {
    CHECK(::fchdir(directory_) == 0);
    ::close(directory_);
    ::umask(mask_);
    ::sigaction(SIGUSR2, &action_, nullptr);
    ::sigprocmask(SIG_SETMASK, &blocked_, nullptr);
  }
  KeptProcess(const KeptProcess&) = delete;
  KeptProcess& operator=(const KeptProcess&) = delete;

 private:
  int directory_;
  mode_t mask_;
  sigset_t blocked_{};
  struct sigaction action_ {};
};

class Host final : public World {
 public:
  Host() {
    make_memory();
    folder_path = folder_.path().string() + "/at";
  }
  ~Host() override {
    for (const std::uint64_t used : {file, folder, pipe[0], pipe[1], socket, other_socket}) {
      ask(SYS_close, used);
    }
    for (const std::uint64_t at : {memory, own, constants, nothing}) {
      ask(SYS_munmap, at, 2 * abi::page_bytes);
    }
  }
  [[nodiscard]] bool is_host() const override { return true; }
  long call(long number, const std::array<std::uint64_t, 6>& args) override {
    const long answer = ::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return answer == -1 ? -errno : answer;
  }

 private:
  KeptProcess kept_;
  TemporaryFolder folder_;
};

class Guest final : public World {
 public:
  Guest() {
    make_memory();
    folder_path = "/tmp/at";
  }
  long call(long number, const std::array<std::uint64_t, 6>& args) override {
    return process_.process->answer({static_cast<std::uint64_t>(number), args});
  }

 private:
  HostedProcess process_;
};

} // namespace test_support
