// SPDX-License-Identifier: MIT
// Where a program is that a user has named.
#include "vmm/boot/program_start.hpp"

#include <array>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"
#include "vmm/settings/program_request.hpp"

namespace {

namespace fs = std::filesystem;
using vmm::program_file;
using vmm::ProgramRequest;

ProgramRequest request_for(const std::string& name) {
  ProgramRequest request;
  request.arguments = {name, "argument"};
  request.inherit = ProgramRequest::Inherit::nothing;
  return request;
}

std::string file_of(const ProgramRequest& request) {
  return fs::path(program_file(request, {}, "/home/user")).lexically_normal().string();
}

TEST_CASE("a program's file on the host: as named, from the working directory, and by PATH") {
  CHECK(file_of(request_for("/bin/true")) == "/bin/true");
  CHECK(file_of(request_for("./tool")) == "/home/user/tool");
  CHECK(file_of(request_for("../tool")) == "/home/tool");
  CHECK(file_of(request_for("no-such-program")) == "/home/user/no-such-program");
  ProgramRequest elsewhere = request_for("d/tool");
  elsewhere.directory = "/srv";
  CHECK(file_of(elsewhere) == "/srv/d/tool");
  const test_support::TemporaryFolder folder;
  const std::string tool = (folder.path() / "tool").string();
  test_support::write_content(tool, "");
  fs::permissions(tool, fs::perms::owner_all);
  const std::string variable = "PATH=/nowhere:" + folder.path().string();
  const std::array<const char*, 1> inherited{variable.c_str()};
  ProgramRequest request = request_for("tool");
  request.inherit = ProgramRequest::Inherit::environment;
  CHECK(program_file(request, inherited, "/") == "//" + tool);
}

TEST_CASE("a program's file on the host: below the guest's root, and where a folder is bound") {
  ProgramRequest request = request_for("/opt/tool");
  request.root = "/srv/root";
  CHECK(file_of(request) == "/srv/root/opt/tool");
  CHECK(file_of(request_for("/optional/tool")) == "/optional/tool");
  request.binds = {{.host = "/data", .guest = "/opt"}, {.host = "/all", .guest = "/"}};
  CHECK(file_of(request) == "/data/tool");
  request.arguments[0] = "/optional/tool";
  CHECK(file_of(request) == "/all/optional/tool");
  request.arguments[0] = "tool/";
  CHECK(file_of(request) == "/all/tool/");
}

} // namespace
