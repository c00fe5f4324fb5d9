// SPDX-License-Identifier: MIT
#include "vmm/sandbox/landlock.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "tests/support/child.hpp"
#include "tests/support/temporary_folder.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/sandbox/privileges.hpp"

using namespace vmm;
using test_support::child;

TEST_CASE("Landlock leaves files in the given folders to be read or changed, and no others") {
  if (landlock_version() == 0) {
    MESSAGE("this kernel has no Landlock");
    return;
  }
  const test_support::TemporaryFolder folder;
  const std::filesystem::path& root = folder.path();
  for (const char* const name : {"read", "change", "other"}) {
    std::filesystem::create_directories(root / name);
    std::ofstream(root / name / "a") << "a";
  }
  CHECK(child([&] {
          const std::array read{(root / "read").string()};
          const std::array change{(root / "change").string()};
          if (!forbid_new_privileges() || !confine_by_landlock({.read = read, .change = change})) {
            return 1;
          }
          const auto opens = [&](const char* name, int flags) {
            return ::open((root / name).c_str(), flags, 0600) >= 0; // NOLINT(*-cloexec*)
          };
          if (opens("other/a", O_RDONLY) || opens("read/a", O_WRONLY) ||
              opens("read/new", O_WRONLY | O_CREAT)) {
            return 2;
          }
          if (!opens("read/a", O_RDONLY) || !opens("change/a", O_RDWR) ||
              !opens("change/new", O_WRONLY | O_CREAT)) {
            return 3;
          }
          return ::mkfifo((root / "change" / "pipe").c_str(), 0600) != 0 ? 0 : 4;
        }) == 0);
}

TEST_CASE("Landlock leaves the given ports to connect to, and none to bind to") {
  if (landlock_version() < 4) {
    MESSAGE("this kernel's Landlock knows no ports");
    return;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  // Two that listen.
  std::array<UniqueFd, 2> listeners;
  std::array<std::uint16_t, 2> ports{};
  for (std::size_t index = 0; index < ports.size(); ++index) {
    socklen_t bytes = sizeof address;
    address.sin_port = 0;
    listeners.at(index) = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listeners.at(index).get(), generic, sizeof address) == 0);
    REQUIRE(::listen(listeners.at(index).get(), 4) == 0);
    REQUIRE(::getsockname(listeners.at(index).get(), generic, &bytes) == 0);
    ports.at(index) = ntohs(address.sin_port);
  }
  CHECK(child([&] {
          const std::array allowed{ports[0]};
          if (!forbid_new_privileges() || !confine_by_landlock({.connect_ports = allowed})) {
            return 1;
          }
          const auto connects = [&](std::uint16_t port) {
            const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            address.sin_port = htons(port);
            return ::connect(fd.get(), generic, sizeof address) == 0 ? 0 : errno;
          };
          if (connects(ports[0]) != 0) {
            return 2;
          }
          if (connects(ports[1]) != EACCES) {
            return 3;
          }
          const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
          address.sin_port = htons(ports[0]);
          if (::bind(fd.get(), generic, sizeof address) == 0 || errno != EACCES) {
            return 4;
          }
          // What was bound before goes on.
          return ::shutdown(listeners[1].get(), SHUT_RDWR) == 0 &&
                         ::listen(listeners[1].get(), 4) == 0
                     ? 0
                     : 5;
        }) == 0);
}

TEST_CASE("Landlock leaves files in the given folders to be moved and removed, and no others") {
  if (landlock_version() == 0) {
    MESSAGE("this kernel has no Landlock");
    return;
  }
  const test_support::TemporaryFolder folder;
  const std::filesystem::path& root = folder.path();
  std::filesystem::create_directories(root / "mine");
  std::filesystem::create_directories(root / "other");
  std::ofstream(root / "mine" / "a") << "a";
  std::ofstream(root / "mine" / "b") << "b";
  std::ofstream(root / "other" / "c") << "c";
  CHECK(child([&] {
          const std::array folders{(root / "mine").string()};
          if (!forbid_new_privileges() || !confine_by_landlock({.put_in_place = folders})) {
            return 1;
          }
          if (::open((root / "mine" / "a").c_str(), O_RDONLY) >= 0 || errno != EACCES) {
            return 2;
          }
          if (::open((root / "mine" / "new").c_str(), O_WRONLY | O_CREAT, 0600) >= 0) {
            return 3;
          }
          if (::unlink((root / "other" / "c").c_str()) == 0 || errno != EACCES) {
            return 4;
          }
          if (::rename((root / "mine" / "a").c_str(), (root / "other" / "a").c_str()) == 0) {
            return 5;
          }
          if (::execl("/bin/true", "true", nullptr) == 0 || errno != EACCES) {
            return 6;
          }
          if (::rename((root / "mine" / "a").c_str(), (root / "mine" / "b").c_str()) != 0) {
            return 7;
          }
          return ::unlink((root / "mine" / "b").c_str()) == 0 ? 0 : 8;
        }) == 0);
  CHECK(std::filesystem::exists(root / "other" / "c"));
}
