// SPDX-License-Identifier: MIT
#include "vmm/boot/own_image.hpp"

#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"

using namespace vmm;
using test_support::TemporaryFolder;

TEST_CASE("own image: what is given stands for itself but for a bare name that is not here") {
  const TemporaryFolder folder;
  const std::filesystem::path own = folder.path();
  REQUIRE_FALSE(std::filesystem::exists("other.bin"));

  // Nothing in our folder yet.
  CHECK(find_image("other.bin", own).value() == "other.bin");
  const auto none = find_image("", own);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().error_class == ErrorClass::user);
  CHECK(none.error().message.find((own / "guest.bin").string()) != std::string::npos);

  std::ofstream(own / "other.bin") << "x";
  std::ofstream(own / "guest.bin") << "x";
  CHECK(find_image("", own).value() == (own / "guest.bin").string());
  CHECK(find_image("other.bin", own).value() == (own / "other.bin").string());
  CHECK(find_image("./other.bin", own).value() == "./other.bin");
  CHECK(find_image("/nowhere/other.bin", own).value() == "/nowhere/other.bin");
  CHECK(find_image("third.bin", own).value() == "third.bin");

  // What is here comes first.
  const std::string here = "README.md";
  REQUIRE(std::filesystem::exists(here));
  std::ofstream(own / here) << "x";
  CHECK(find_image(here, own).value() == here);
}

TEST_CASE("own image: the folder of the program, wherever one is") {
  CHECK(std::filesystem::is_directory(own_folder()));
  CHECK(own_folder().is_absolute());
}
