// SPDX-License-Identifier: MIT
#include "vmm/settings/config_file.hpp"

#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/settings/config.hpp"

using namespace vmm;

namespace {

Result<std::variant<Config, ShowText, ProbeHost>> parse(const std::string& file,
                                                        std::vector<std::string> words) {
  words.insert(words.begin(), {"vmm", "--config", "run.toml"});
  std::vector<const char*> argv;
  for (const std::string& word : words) {
    argv.push_back(word.c_str());
  }
  return parse_command_line(argv, [&](const std::string& path) -> Result<std::string> {
    CHECK(path == "run.toml");
    return file;
  });
}

Config accept(const std::string& file, const std::vector<std::string>& words = {}) {
  const auto parsed = parse(file, words);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
  return std::get<Config>(*parsed);
}

std::string refuse(const std::string& file, const std::vector<std::string>& words = {}) {
  const auto parsed = parse(file, words);
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().error_class == ErrorClass::user);
  CHECK(parsed.error().message.find('\n') == std::string::npos);
  return parsed.error().message;
}

std::string print(const std::string& file, std::vector<std::string> words = {}) {
  words.insert(words.begin(), "--print-config");
  const auto parsed = parse(file, words);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
  return std::get<ShowText>(*parsed).text;
}

} // namespace

TEST_CASE("config file: options by their names, an image, and a program") {
  const Config config = accept(R"(# a comment
image = "other.bin"
mem = "1G"
prefault = 5
quiet = true
verbose = false
report = "order=4,batch=16"
env = ["A=1", "B=x,y"]
bind = "/srv"
program = ["/bin/ls", "--quiet", "--", ""]
)");
  CHECK(config.image == "other.bin");
  CHECK(config.mem_bytes == gib);
  REQUIRE(config.prefault.has_value());
  CHECK(config.prefault->value == 5);
  CHECK(config.verbosity == Verbosity::quiet);
  CHECK(config.report.order == 4);
  CHECK(config.report.batch == 16);
  CHECK(config.program.environment == std::vector<std::string>{"A=1", "B=x,y"});
  CHECK(config.program.binds.size() == 1);
  CHECK(config.program.arguments == std::vector<std::string>{"/bin/ls", "--quiet", "--", ""});
  CHECK(config.config_file == "run.toml");
}

TEST_CASE("config file: what stands on the command line wins, option by option") {
  const std::string file =
      "mem = \"1G\"\ncpus = 2\nworkload = \"ramp\"\narg = [\"a=1\", \"b=2\"]\n";
  CHECK(accept(file).mem_bytes == gib);
  const Config config = accept(file, {"--mem", "64M", "--arg", "c=3", "mine.bin"});
  CHECK(config.mem_bytes == 64 * mib);
  CHECK(config.cpus == 2);
  CHECK(config.guest_args == std::vector<std::string>{"c=3"});
  CHECK(config.image == "mine.bin");
  const Config other = accept("image = \"a.bin\"\nprogram = [\"ls\"]", {"--", "cat", "x"});
  CHECK(other.program.arguments == std::vector<std::string>{"cat", "x"});
  CHECK(other.image == "a.bin");
  // Together they are one request: what rules out each other does so here, too.
  CHECK(refuse("workload = \"ramp\"", {"--", "ls"}).find("not both") != std::string::npos);
  CHECK(refuse("quiet = true", {"--verbose", "a.bin"}).find("--quiet") != std::string::npos);
}

TEST_CASE("config file: what is wrong is told with its place") {
  const auto where = [](const std::string& file) {
    const std::string message = refuse(file);
    return message.substr(0, message.find(' '));
  };
  CHECK(where("mem = \"1G\"\nmen = \"2G\"\n") == "run.toml:2:1:");
  CHECK(where("mem = \n") == "run.toml:1:7:");
  CHECK(where("mem = \"1G\"\nmem = \"2G\"\n").starts_with("run.toml:2:"));
  CHECK(where("mem = \"1G").starts_with("run.toml:1:"));
  CHECK(where("[guest]\nmem = \"1G\"\n") == "run.toml:1:2:");
  CHECK(where("\n\ncpus.x = 1\n") == "run.toml:3:1:");
  for (const char* const file :
       {"mem = [\"1G\"]",    "mem = true",       "mem = 1.5",           "mem = 1979-05-27",
        "mem = \"\"",        "quiet = 1",        "quiet = \"true\"",    "env = [1.5]",
        "env = [[\"A=1\"]]", "image = []",       "image = \"\"",        "image = [\"a\"]",
        "program = []",      "program = [true]", "config = \"x\"",      "print-config = true",
        "help = true",       "\"\" = 1",         "mem = \"a\\u0000b\"", "mem = \"\xff\"",
        "\"a\\nb\" = 1"}) {
    CAPTURE(file);
    CHECK(refuse(file).starts_with("run.toml:1:"));
  }
  CHECK(refuse("mem = \"3X\"", {"a.bin"}).starts_with("run.toml: --mem \"3X\": not a size"));
  CHECK(refuse("cpus = 99", {"a.bin"}).starts_with("run.toml: --cpus"));
  CHECK(refuse("mem = \"1G\"", {"--mem", "3X", "a.bin"}).starts_with("--mem \"3X\""));
  CHECK(refuse("").find("nothing to run") != std::string::npos);
}

TEST_CASE("config file: what is printed asks for the same again") {
  const std::string odd = "a\"b\\c'd\te\n\xc3\xa9#\x7f\x01/";
  const std::vector<std::string> words{
      "--mem", "64M",      "--quiet", "--env",     "A=" + odd, "--env", "B=1", "--bind",
      "/srv",  "--report", "keep=1M", "other.bin", "--",       "ls",    odd,   ""};
  const std::string printed = print("", words);
  const Config direct = accept("", words);
  const Config again = accept(printed);
  CHECK(again.mem_bytes == direct.mem_bytes);
  CHECK(again.verbosity == direct.verbosity);
  CHECK(again.program.environment == direct.program.environment);
  CHECK(again.program.arguments == direct.program.arguments);
  CHECK(again.report.keep_bytes == direct.report.keep_bytes);
  CHECK(again.image == direct.image);
  CHECK(print(printed) == printed);
  // Without anything it is all comments, to begin with.
  CHECK(print("").find("\n# cpus = N: Virtual CPUs") != std::string::npos);
  CHECK(accept(print(""), {"a.bin"}).mem_bytes == 512 * mib);
  CHECK(refuse("", {"--print-config", "--stats", "\xff"}).find("UTF-8") != std::string::npos);
  // Only of what could run.
  CHECK(refuse("", {"--print-config", "--mem", "1"}).starts_with("--mem"));
}

TEST_CASE("config file: that it cannot be read is told as its reader does") {
  const std::vector<const char*> argv{"vmm", "--config", "gone.toml", "a.bin"};
  const auto parsed = parse_command_line(argv, [](const std::string& path) -> Result<std::string> {
    return user_error("{}: is not there", path);
  });
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().message == "gone.toml: is not there");
}
