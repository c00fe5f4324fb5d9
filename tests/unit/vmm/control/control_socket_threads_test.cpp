// SPDX-License-Identifier: MIT
#include "vmm/control/control_socket.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/control_client.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace vmm;
using namespace test_support;

namespace {

// One above the highest that is open.
int first_free_descriptor() {
  int first = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    first = std::max(first, std::stoi(entry.path().filename().string()) + 1);
  }
  return first;
}

std::uint64_t process_cpu_ns() {
  timespec now{};
  REQUIRE(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace

TEST_CASE("lines are answered in order, however they arrive") {
  const TemporaryFolder dir;
  const auto socket = serve(dir / "s");
  Client client(dir / "s");
  REQUIRE(client.send("one\ntwo\r\nth"));
  CHECK(client.line() == "ok one");
  CHECK(client.line() == "ok two");
  for (const char character : std::string_view("ree\n\n")) {
    REQUIRE(client.send({&character, 1}));
  }
  CHECK(client.line() == "ok three");
  CHECK(client.line() == "ok ");
  REQUIRE(client.send("last"));
  client.end();
  CHECK(client.line() == "ok last");
  CHECK(client.line().empty()); // closed
}

TEST_CASE("a line that is too long is refused once and skipped whole") {
  const TemporaryFolder dir;
  const auto socket = serve(dir / "s");
  Client client(dir / "s");
  REQUIRE(client.send(std::string(ControlSocket::max_line_bytes, 'a') + "\n"));
  CHECK(client.line() == "ok " + std::string(ControlSocket::max_line_bytes, 'a'));
  REQUIRE(client.send(std::string(50 * ControlSocket::max_line_bytes, 'b')));
  REQUIRE(client.send("\nnext\n"));
  CHECK(client.line() == "error the line is too long");
  CHECK(client.line() == "ok next");
}

TEST_CASE("binary lines reach the handler whole, and answers stay on one line") {
  const TemporaryFolder dir;
  const auto socket =
      serve(dir / "s", [](std::string_view line) { return std::to_string(line.size()) + "\nx"; });
  Client client(dir / "s");
  REQUIRE(client.send(std::string_view("\0\xff\x1b[2J\0\n", 8)));
  CHECK(client.line() == "7 x");
}

TEST_CASE("many clients are served, one more is told so") {
  const TemporaryFolder dir;
  const auto socket = serve(dir / "s");
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t index = 0; index < ControlSocket::max_clients; ++index) {
    clients.push_back(std::make_unique<Client>(dir / "s"));
    REQUIRE(clients.back()->send("hi\n"));
    CHECK(clients.back()->line() == "ok hi");
  }
  Client excess(dir / "s");
  CHECK(excess.line() == "error too many clients");
  // A place that becomes free can be taken, sooner or later.
  clients.pop_back();
  bool served = false;
  while (!served) {
    Client next(dir / "s");
    served = next.send("hi\n") && next.line() == "ok hi";
  }
  CHECK(clients.front()->send("still\n"));
  CHECK(clients.front()->line() == "ok still");
}

TEST_CASE("a client for whom there is no descriptor waits, and nobody spins") {
  const TemporaryFolder dir;
  const auto socket = serve(dir / "s");
  Client first(dir / "s");
  REQUIRE(first.send("hi\n"));
  CHECK(first.line() == "ok hi");
  const UniqueFd waiting(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(waiting.valid());
  // No number is left for accept: those below the limit are taken.
  std::vector<UniqueFd> taken;
  const int limit = first_free_descriptor();
  rlimit usual{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual) == 0);
  const rlimit none{static_cast<rlim_t>(limit), usual.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  for (UniqueFd next(::dup(waiting.get())); next.valid(); next = UniqueFd(::dup(waiting.get()))) {
    taken.push_back(std::move(next));
  }
  const sockaddr_un address = address_of(dir / "s");
  REQUIRE(::connect(waiting.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
          0);
  REQUIRE(::send(waiting.get(), "late\n", 5, MSG_NOSIGNAL) == 5);
  // Answers show that the thread goes on; what it used meanwhile, that it does not turn in circles.
  const std::uint64_t before_ns = process_cpu_ns();
  ::usleep(300'000);
  const std::uint64_t used_ns = process_cpu_ns() - before_ns;
  CHECK(used_ns < 100'000'000);
  CHECK(first.send("still\n"));
  CHECK(first.line() == "ok still");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &usual) == 0);
  std::array<char, 8> answer{};
  CHECK(::recv(waiting.get(), answer.data(), answer.size(), 0) == 8);
  CHECK(std::string_view(answer.data(), 8) == "ok late\n");
}

TEST_CASE("clients that vanish at any point harm nobody") {
  const TemporaryFolder dir;
  const auto socket = serve(dir / "s", [](std::string_view) { return std::string(20'000, 'x'); });
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (unsigned thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&dir, thread] {
      for (unsigned round = 0; round < 50; ++round) {
        Client client(dir / "s");
        switch ((thread + round) % 3) {
        case 0:
          break;
        case 1:
          static_cast<void>(client.send("half a li"));
          break;
        default:
          static_cast<void>(client.send("a\nb\nc\nd\ne\nf\ng\nh\n"));
          break;
        }
      }
    });
  }
  threads.clear();
  bool served = false;
  while (!served) {
    Client client(dir / "s");
    served = client.send("a\n") && client.line().size() == 20'000;
  }
  CHECK(served);
}

TEST_CASE("a client that does not read its answers is not read from") {
  const TemporaryFolder dir;
  std::atomic<unsigned> handled{0};
  const auto socket = serve(dir / "s", [&handled](std::string_view) {
    ++handled;
    return std::string(60'000, 'x');
  });
  Client greedy(dir / "s");
  std::string lines;
  for (unsigned line = 0; line < 150; ++line) {
    lines += "a\n";
  }
  REQUIRE(greedy.send(lines));
  Client other(dir / "s");
  REQUIRE(other.send("b\n"));
  CHECK(other.line().size() == 60'000);
  CHECK(handled < 100); // of 151: the rest waits for the reader
  for (unsigned line = 0; line < 150; ++line) {
    REQUIRE(greedy.line().size() == 60'000);
  }
  CHECK(handled == 151);
}

TEST_CASE("the socket is the user's alone and goes with its owner") {
  const TemporaryFolder dir;
  const std::string path = dir / "s";
  {
    const mode_t before = ::umask(0);
    const auto socket = serve(path);
    ::umask(before);
    struct stat status {};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    CHECK(S_ISSOCK(status.st_mode));
    CHECK((status.st_mode & 0777) == 0600);
    // In use: not taken over.
    const auto second = ControlSocket::create(path, handler_of(echo));
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().message.find("in use") != std::string::npos);
    const Client client(path); // one that is connected at the end
    CHECK(client.connected());
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a socket left behind is replaced, anything else is not") {
  const TemporaryFolder dir;
  const std::string path = dir / "s";
  {
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  serve(path);
  std::ofstream(dir / "file") << "precious";
  std::filesystem::create_symlink(dir / "file", dir / "link");
  for (const std::string& wrong : {dir / "file", dir / "link", dir / "absent/s", std::string(),
                                   std::string("/"), dir / std::string(200, 'p').c_str()}) {
    CAPTURE(wrong);
    const auto refused = ControlSocket::create(wrong, handler_of(echo));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().error_class == ErrorClass::user);
    CHECK(refused.error().message.starts_with("--control"));
  }
  CHECK(std::filesystem::file_size(dir / "file") == 8);
}

TEST_CASE("another's socket at the same path is not removed") {
  const TemporaryFolder dir;
  auto first = serve(dir / "s");
  std::filesystem::remove(dir / "s");
  const auto second = serve(dir / "s");
  first.reset();
  Client client(dir / "s");
  REQUIRE(client.send("hi\n"));
  CHECK(client.line() == "ok hi");
}

TEST_CASE("control socket: a file that is handed over is for the next line that wants one") {
  const TemporaryFolder dir;
  std::vector<ino_t> taken;
  auto socket = ControlSocket::create(
      dir / "s", {.answer = [&taken](std::string_view line, UniqueFd& file) -> ControlReply {
                    if (line != "take" || !file.valid()) {
                      return std::string(file.valid() ? "there" : "none");
                    }
                    struct stat status {};
                    REQUIRE(::fstat(file.get(), &status) == 0);
                    CHECK((::fcntl(file.get(), F_GETFD) & FD_CLOEXEC) != 0);
                    taken.push_back(status.st_ino);
                    file = {};
                    return std::string("taken");
                  },
                  .too_long = [] { return std::string("too long"); },
                  .too_many = [] { return std::string("too many"); }});
  REQUIRE(socket);
  REQUIRE((*socket)->start());
  std::vector<UniqueFd> files;
  std::vector<ino_t> inodes;
  for (const char* const name : {"a", "b", "c"}) {
    files.emplace_back(::open((dir / name).c_str(), O_RDWR | O_CREAT, 0600));
    struct stat status {};
    REQUIRE(::fstat(files.back().get(), &status) == 0);
    inodes.push_back(status.st_ino);
  }
  const int before = first_free_descriptor();
  {
    Client client(dir / "s");
    // Lines without and with a file, in one go and in pieces.
    REQUIRE(client.send("look\n"));
    REQUIRE(client.hand_over("look\ntake\nlook\n", {files[0].get()}));
    REQUIRE(client.send("ta"));
    REQUIRE(client.hand_over("ke\n", {files[1].get()}));
    // Of several the first; the latest takes the place of those before.
    REQUIRE(client.hand_over("look\n", {files[0].get(), files[1].get()}));
    REQUIRE(client.hand_over("take\ntake\n", {files[2].get()}));
    // Whether the first look is read together with the file is a matter of time.
    static_cast<void>(client.line());
    for (const char* const answer : {"there", "taken", "none", "taken", "there", "taken", "none"}) {
      CHECK(client.line() == answer);
    }
    for (int count = 0; count < 100; ++count) { // and none of these stays
      REQUIRE(client.hand_over("look\n", {files[0].get(), files[1].get(), files[2].get()}));
      CHECK(client.line() == "there");
    }
  }
  (*socket)->end();
  CHECK(taken == std::vector{inodes[0], inodes[1], inodes[2]});
  CHECK(first_free_descriptor() <= before + 1);
}
