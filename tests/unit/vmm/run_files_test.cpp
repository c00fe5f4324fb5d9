// SPDX-License-Identifier: MIT
// What a run writes is not what it reads.
#include "vmm/run_files.hpp"

#include <filesystem>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"

namespace {

namespace fs = std::filesystem;

struct Run {
  Run() {
    config.image = path("guest.bin");
    for (const char* name : {"guest.bin", "guest.elf", "program"}) {
      test_support::write_content(path(name), name);
    }
  }
  [[nodiscard]] std::string path(const char* name) const { return (folder.path() / name).string(); }
  // What it is refused for; empty: it is not.
  [[nodiscard]] std::string refusal(const std::optional<std::string>& program = {}) const {
    const auto kept = vmm::keep_files_apart(config, program);
    return kept ? "" : kept.error().message;
  }

  test_support::TemporaryFolder folder;
  vmm::Config config;
};

TEST_CASE("nothing is written over the file that has an image's symbols") {
  Run run;
  SUBCASE("statistics") {
    run.config.stats = run.path("guest.elf");
  }
  SUBCASE("a profile, by another name") {
    fs::create_hard_link(run.path("guest.elf"), run.path("other"));
    run.config.profile_out = run.path("other");
  }
  SUBCASE("metrics") {
    run.config.metrics = {.path = run.path("guest.elf")};
  }
  CHECK(run.refusal().find("is the same file as the image's symbols " + run.path("guest.elf")) !=
        std::string::npos);
}

TEST_CASE("a file may be made where symbols would be, but are not") {
  Run run;
  fs::remove(run.path("guest.elf"));
  run.config.stats = run.path("guest.elf");
  CHECK(run.refusal().empty());
}

TEST_CASE("nothing is written over the program") {
  Run run;
  run.config.profile_out = run.path("program");
  CHECK(run.refusal().empty());
  CHECK(run.refusal(run.path("program")) == "--profile-out " + run.path("program") +
                                                ": is the same file as the program " +
                                                run.path("program") + "; name another one");
}

} // namespace
