// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <doctest/doctest.h>

#include "tests/support/fake_debug_target.hpp"
#include "tests/support/temporary_folder.hpp"
#include "vmm/debug/gdb_packets.hpp"

using namespace vmm;
using test_support::TemporaryFolder;

namespace {

class Debugger {
 public:
  explicit Debugger(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  explicit Debugger(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }

  void send(std::string_view bytes) const {
    static_cast<void>(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
  void say(std::string_view payload) const { send(frame_packet(payload)); }
  // The next packet; "(end)" when the connection has ended.
  std::string hear() {
    while (packets_.empty()) {
      std::array<char, 4096> chunk{};
      const ssize_t received = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
      if (received <= 0) {
        return "(end)";
      }
      reader_.read({chunk.data(), static_cast<std::size_t>(received)},
                   [this](const PacketReader::Item& item) {
                     if (item.kind == PacketReader::Kind::packet) {
                       packets_.push_back(item.payload);
                     }
                   });
    }
    const std::string packet = packets_.front();
    packets_.erase(packets_.begin());
    return packet;
  }
  std::string ask(std::string_view payload) {
    say(payload);
    return hear();
  }
  void close() { fd_ = UniqueFd(); }

 private:
  UniqueFd fd_;
  PacketReader reader_;
  std::vector<std::string> packets_;
};

struct Served {
  explicit Served(const GdbAddress& address) {
    auto made_end = GuestEnd::create();
    REQUIRE(made_end);
    end = std::move(*made_end);
    auto made = GdbServer::create(address, target, *end);
    REQUIRE_MESSAGE(made.has_value(), made.error().message);
    server = std::move(*made);
  }

  test_support::FakeDebugTarget target;
  std::unique_ptr<GuestEnd> end;
  std::unique_ptr<GdbServer> server;
};

} // namespace

TEST_CASE("gdb server: a debugger comes, goes, and comes again") {
  const TemporaryFolder directory;
  const std::string path = directory / "gdb";
  Served served({0, path});
  CHECK(served.server->address() == path);
  REQUIRE(served.server->start());
  for (unsigned round = 0; round < 3; ++round) {
    Debugger debugger(path);
    CHECK(debugger.ask("?") == "T05thread:1;");
    CHECK(debugger.ask("Z0,400000,1") == "OK");
    if (round == 1) {
      CHECK(debugger.ask("D") == "OK");
      CHECK(debugger.hear() == "(end)");
    }
  }
  served.server.reset(); // joins: what the thread did is visible
  CHECK(served.target.releases == 3);
  CHECK(served.target.breakpoints.empty());
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("gdb server: a stop of the guest's own is told") {
  const TemporaryFolder directory;
  Served served({0, directory / "gdb"});
  REQUIRE(served.server->start());
  Debugger debugger(directory / "gdb");
  CHECK(debugger.ask("?") == "T05thread:1;");
  // Said before the guest goes, so there is no race with the server's thread.
  served.target.stop_by_itself({1, StopReason::breakpoint, 3});
  CHECK(debugger.ask("vCont;c") == "T05thread:2;swbreak:;");
}

TEST_CASE("gdb server: one debugger at a time") {
  const TemporaryFolder directory;
  Served served({0, directory / "gdb"});
  REQUIRE(served.server->start());
  Debugger first(directory / "gdb");
  CHECK(first.ask("?") == "T05thread:1;");
  Debugger second(directory / "gdb");
  CHECK(second.hear() == "(end)");
  CHECK(first.ask("qC") == "QC1");
}

TEST_CASE("gdb server: the guest's end is told, then the socket is gone") {
  const TemporaryFolder directory;
  Served served({0, directory / "gdb"});
  REQUIRE(served.server->start());
  Debugger debugger(directory / "gdb");
  CHECK(debugger.ask("?") == "T05thread:1;");
  debugger.say("c");
  // The server must have heard it: an interrupt is answered.
  debugger.send("\x03");
  CHECK(debugger.hear() == "T02thread:1;");
  debugger.say("c");
  debugger.say("vMustReplyEmpty"); // not answered while the guest goes
  served.end->end({EndKind::exited, 42, {}});
  const std::string last = debugger.hear();
  CHECK((last == "W2a" || last == "(end)")); // depends on which came first
  debugger.close();
  served.server.reset();
  CHECK_FALSE(std::filesystem::exists(directory / "gdb"));
}

TEST_CASE("gdb server: a debugger that does not read holds up nobody's end") {
  const TemporaryFolder directory;
  Served served({0, directory / "gdb"});
  REQUIRE(served.server->start());
  const Debugger debugger(directory / "gdb");
  // The answers fill the socket's buffers sooner or later; from then on the server waits.
  std::atomic<bool> enough{false};
  std::jthread asking([&] {
    while (!enough) {
      debugger.send(frame_packet("m400000,2000"));
    }
  });
  served.end->end({EndKind::exited, 0, {}});
  enough = true;
  served.server.reset();
}

TEST_CASE("gdb server: a port of the loopback interface, and only one server on it") {
  Served served({0, {}});
  const std::string_view host = "127.0.0.1:";
  REQUIRE(served.server->address().starts_with(host));
  const auto port =
      static_cast<std::uint16_t>(std::stoul(served.server->address().substr(host.size())));
  CHECK(port != 0);
  REQUIRE(served.server->start());
  Debugger debugger(port);
  CHECK(debugger.ask("qC") == "QC1");
  const auto second = GdbServer::create({port, {}}, served.target, *served.end);
  REQUIRE_FALSE(second);
  CHECK(second.error().error_class == ErrorClass::user);
  CHECK(second.error().message.starts_with("--gdb " + std::to_string(port) + ": "));
}

TEST_CASE("gdb server: no other file is touched") {
  const TemporaryFolder directory;
  const std::string path = directory / "file";
  std::ofstream(path) << "mine";
  auto end = GuestEnd::create();
  REQUIRE(end);
  test_support::FakeDebugTarget target;
  const auto refused = GdbServer::create({0, path}, target, **end);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().error_class == ErrorClass::user);
  CHECK(std::filesystem::file_size(path) == 4);
  CHECK_FALSE(GdbServer::create({0, directory / "no/such"}, target, **end));
  CHECK_FALSE(GdbServer::create({0, std::string(200, 'x')}, target, **end));
}
