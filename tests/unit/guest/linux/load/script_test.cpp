// SPDX-License-Identifier: MIT
#include "guest/linux/load/script.hpp"

#include <cerrno>
#include <string>

#include <doctest/doctest.h>

using guest::linux::is_script;
using guest::linux::parse_script;
using guest::linux::ScriptLine;

TEST_CASE("script: the interpreter, and all the rest as one argument") {
  const auto check = [](std::string_view head, std::string_view interpreter,
                        std::string_view argument) {
    CAPTURE(head);
    REQUIRE(is_script(head));
    const auto line = parse_script(head);
    REQUIRE(line);
    CHECK(line->interpreter == interpreter);
    CHECK(line->argument == argument);
  };
  check("#!/bin/sh\necho", "/bin/sh", "");
  check("#!/bin/sh", "/bin/sh", "");
  check("#! \t/bin/sh \t \n", "/bin/sh", "");
  check("#!/usr/bin/env -S python3 -u \nprint", "/usr/bin/env", "-S python3 -u");
  check("#!sh\r\n", "sh\r", "");
  check(std::string("#!/bin/sh\0 x\n", 13), "/bin/sh", "");
}

TEST_CASE("script: a line without an interpreter, or with one that is cut off, is refused") {
  for (const std::string& head :
       {std::string("#!"), std::string("#!\n/bin/sh"), std::string("#!  \t \n"),
        "#!/" + std::string(ScriptLine::most_bytes, 'a') + "\n"}) {
    CAPTURE(head);
    REQUIRE(is_script(head));
    CHECK(parse_script(head).error() == ENOEXEC);
  }
  CHECK_FALSE(is_script("#"));
  CHECK_FALSE(is_script("/bin/sh"));
  // An argument may be cut off, as Linux has it.
  const auto line = parse_script("#!/bin/sh " + std::string(ScriptLine::most_bytes, 'a'));
  REQUIRE(line);
  CHECK(line->argument.size() == ScriptLine::most_bytes - std::string_view("#!/bin/sh ").size());
}
