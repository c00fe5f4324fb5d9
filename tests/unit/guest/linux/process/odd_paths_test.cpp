// SPDX-License-Identifier: MIT
// Paths that end in slashes or dots, in links as well, as the host's kernel takes them
// (tests/programs/paths.py asks more of whole guests).
#include <fcntl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/linux/two_kernels.hpp"

namespace {

using namespace test_support; // NOLINT(google-build-using-namespace)

long opened(World& world, const std::string& path, std::uint64_t flags) {
  const long number =
      world.ask(SYS_open, world.put_text(world.memory, world.folder_path + path), flags, 0600);
  return number < 0 ? number : world.ask(SYS_close, number);
}

TEST_CASE("paths: what ends in a slash is no file to be made, wherever the slash is") {
  Host host;
  Guest guest;
  for (World* const world : {static_cast<World*>(&host), static_cast<World*>(&guest)}) {
    CAPTURE(world->is_host());
    world->prepare();
    const auto link = [world](const std::string& text) {
      const std::string path = world->folder_path + "/link";
      world->ask(SYS_unlink, world->put_text(world->own, path));
      REQUIRE(world->ask(SYS_symlink, world->put_text(world->own, text),
                         world->put_text(world->own + 512, path)) == 0);
    };
    link("new/");
    CHECK(opened(*world, "/link", O_CREAT | O_RDWR) == -EISDIR);
    CHECK(opened(*world, "/new", O_RDONLY) == -ENOENT);
    link("file/");
    CHECK(opened(*world, "/link", O_CREAT | O_RDWR) == -EISDIR);
    CHECK(opened(*world, "/link", O_RDWR) == -ENOTDIR);
    CHECK(opened(*world, "/link", O_CREAT | O_EXCL | O_RDWR) == -EEXIST);
    link("../at/");
    CHECK(opened(*world, "/link", O_CREAT | O_RDONLY) == -EISDIR);
    CHECK(opened(*world, "/link", O_RDONLY) == 0);
    link("file");
    CHECK(opened(*world, "/link", O_CREAT | O_RDWR) == 0);
    CHECK(opened(*world, "/link/", O_CREAT | O_RDWR) == -EISDIR);
    CHECK(opened(*world, "/new/", O_CREAT | O_RDWR) == -EISDIR);
    for (const char* const path : {"/", "/.", "/..", "/./", "//"}) {
      CAPTURE(path);
      CHECK(opened(*world, path, O_CREAT | O_RDONLY) == -EISDIR);
      CHECK(opened(*world, path, O_CREAT | O_EXCL | O_RDWR) ==
            (std::string(path).find('.') != std::string::npos ? -EEXIST : -EISDIR));
    }
  }
}

} // namespace
