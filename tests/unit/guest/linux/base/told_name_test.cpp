// SPDX-License-Identifier: MIT
#include "guest/linux/base/told_name.hpp"

#include <string>

#include <doctest/doctest.h>

using guest::linux::ToldName;

TEST_CASE("a name is told as it is, on one line, and never as nothing") {
  CHECK(ToldName("/bin/true").view() == "/bin/true");
  CHECK(ToldName("/gr\xc3\xbc n").view() == "/gr\xc3\xbc n");
  CHECK(ToldName("a\nb\tc\x1b[31m\x7f").view() == "a?b?c?[31m?");
  CHECK(ToldName("").view() == "\"\"");
}

TEST_CASE("of a name that is too long the middle is missing") {
  const std::string just(ToldName::most_bytes, 'x');
  CHECK(ToldName(just).view() == just);
  const std::string longer = "/begins" + std::string(5000, 'x') + "ends";
  const ToldName told(longer);
  CHECK(told.view().size() <= ToldName::most_bytes);
  CHECK(told.view().starts_with("/begins"));
  CHECK(told.view().ends_with("ends"));
  CHECK(told.view().contains("x...x"));
}
