// SPDX-License-Identifier: MIT
// Command lines of the vmm that must be accepted, or refused.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/no_file.hpp"
#include "vmm/settings/config.hpp"

namespace test_support {

using Parsed = vmm::Result<std::variant<vmm::Config, vmm::ShowText, vmm::ProbeHost>>;

inline Parsed parse(const std::vector<std::string>& args) {
  std::vector<const char*> argv{"vmm"};
  for (const std::string& arg : args) {
    argv.push_back(arg.c_str());
  }
  return vmm::parse_command_line(argv, no_file);
}

// The configuration of a command line that must be accepted, with the image in front.
inline vmm::Config accept(std::vector<std::string> args) {
  args.insert(args.begin(), "guest.bin");
  const Parsed parsed = parse(args);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
  const auto* const config = std::get_if<vmm::Config>(&*parsed);
  REQUIRE(config != nullptr);
  return *config;
}

// The message of a command line that must be refused: one line, of class user.
inline std::string refuse_bare(const std::vector<std::string>& args) {
  const Parsed parsed = parse(args);
  REQUIRE_FALSE(parsed.has_value());
  const vmm::Error& error = parsed.error();
  CHECK(error.error_class == vmm::ErrorClass::user);
  CHECK_FALSE(error.message.empty());
  CHECK(error.message.find('\n') == std::string::npos);
  CHECK_FALSE(error.message.ends_with('.'));
  return error.message;
}

inline std::string refuse(std::vector<std::string> args) {
  args.insert(args.begin(), "guest.bin");
  return refuse_bare(args);
}

inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

} // namespace test_support
