// SPDX-License-Identifier: MIT
#include "vmm/settings/program_request.hpp"

#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/no_file.hpp"
#include "vmm/settings/config.hpp"

using namespace vmm;

namespace {

Result<std::variant<Config, ShowText, ProbeHost>> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "vmm");
  return parse_command_line(arguments, test_support::no_file);
}

ProgramRequest accept(const std::vector<const char*>& arguments) {
  const auto parsed = parse(arguments);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
  return std::get<Config>(*parsed).program;
}

std::string refuse(const std::vector<const char*>& arguments) {
  const auto parsed = parse(arguments);
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().error_class == ErrorClass::user);
  CHECK(parsed.error().message.find('\n') == std::string::npos);
  return parsed.error().message;
}

} // namespace

TEST_CASE("program request: what stands behind -- is the program's, whatever it looks like") {
  const ProgramRequest request =
      accept({"guest.bin", "--env", "A=1", "--env", "B=", "--clear-env", "--cwd", "/x", "--user",
              "7", "--", "ls", "--mem", "--", "-l", ""});
  CHECK(request.arguments == std::vector<std::string>{"ls", "--mem", "--", "-l", ""});
  CHECK(request.environment == std::vector<std::string>{"A=1", "B="});
  CHECK(request.inherit == ProgramRequest::Inherit::nothing);
  CHECK(request.directory == "/x");
  REQUIRE(request.user.has_value());
  CHECK(request.user->user == 7);
  CHECK(request.user->group == 7);
  CHECK(request.root_directory() == "/");
}

TEST_CASE("program request: without an image, too, the first -- starts the program") {
  CHECK(accept({"--", "ls"}).arguments == std::vector<std::string>{"ls"});
  CHECK(accept({"--mem", "64M", "--", "--quiet", "--"}).arguments ==
        std::vector<std::string>{"--quiet", "--"});
}

TEST_CASE("program request: users are numbers") {
  const auto both = parse_user("--user", "1000:4294967295");
  REQUIRE(both.has_value());
  CHECK(both->user == 1000);
  CHECK(both->group == 4294967295);
  for (const char* const text : {"", ":", "1:", ":1", "root", "-1", "1:2:3", "4294967296", "1 "}) {
    CAPTURE(text);
    CHECK_FALSE(parse_user("--user", text).has_value());
  }
}

TEST_CASE("program request: a bind names a folder of the host's, and where it is seen") {
  const auto same = parse_bind("--bind", "/usr/share/");
  REQUIRE(same.has_value());
  CHECK(same->guest == "/usr/share");
  CHECK(same->access == MountAccess::read_only);
  const auto elsewhere = parse_bind("--bind", "data:/d//");
  REQUIRE(elsewhere.has_value());
  CHECK(elsewhere->host == "data");
  CHECK(elsewhere->guest == "/d");
  const auto writable = parse_bind("--bind", "/a:/b:rw");
  REQUIRE(writable.has_value());
  CHECK(writable->access == MountAccess::read_write);
  const auto readable = parse_bind("--bind", "/a:/b:ro");
  REQUIRE(readable.has_value());
  CHECK(readable->guest == "/b");
  CHECK(readable->access == MountAccess::read_only);
  for (const char* const text : {"", ":", ":rw", "data", "data:d", "/a:", ":/b", "/", "/a:/",
                                 "/a:/b:rx", "/a:/b:rw:rw", "/a:/b:"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_bind("--bind", text).has_value());
  }
}

TEST_CASE("program request: a bind does not hide what the guest makes up") {
  for (const char* const text :
       {"/a:/proc:rw", "/proc", "/a:/sys/", "/a:/dev", "/a:/dev/pts", "/a:/proc/1"}) {
    CAPTURE(text);
    const auto refused = parse_bind("--bind", text);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message.find("is made up by itself") != std::string::npos);
  }
  for (const char* const text : {"/a:/devel", "/proc:/host-proc", "/a:/dev/shm", "/a:/mnt/proc"}) {
    CAPTURE(text);
    CHECK(parse_bind("--bind", text).has_value());
  }
}

TEST_CASE("program request: what makes no sense is refused in one line") {
  CHECK(refuse({"guest.bin", "--bind", "/a"}).starts_with("--bind: is for a program"));
  CHECK(refuse({"guest.bin", "--workload", "idle", "--", "ls"}).find("not both") !=
        std::string::npos);
  CHECK(refuse({"guest.bin", "--"}).starts_with("--: no program"));
  CHECK(
      refuse({"guest.bin", "--bind", "/a:/d:rw", "--bind", "/b:/c", "--bind", "/c:/d/", "--", "ls"})
          .starts_with("--bind /d: two folders"));
  for (const char* const variable : {"A", "=1", ""}) {
    CAPTURE(variable);
    CHECK(refuse({"guest.bin", "--env", variable, "--", "ls"}).find("NAME=VALUE") !=
          std::string::npos);
  }
}
