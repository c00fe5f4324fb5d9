// SPDX-License-Identifier: MIT
// A file instead of a long command line: TOML with the names of the options.
//
//     image = "guest.bin"                      # the same as on the command line
//     mem = "2G"
//     cpus = 2
//     quiet = true
//     env = ["A=1", "B=2"]                     # what may be given often
//     program = ["/usr/bin/python3", "-V"]     # what stands behind the --
//
// The work is toml++'s; only config_file.cpp includes it, as reading it takes many seconds.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/settings/command_line.hpp"

namespace vmm {

// What is asked for, by a file or by a command line: options, an image, a program.
struct RunRequest {
  SplitLine line;                   // with values for each shape; of a flag only whether it has any
  std::vector<std::string> program; // and its arguments; empty: none
};

// The content of a file that is named, or why there is none. Called at most once.
using FileReader = std::function<Result<std::string>(const std::string& path)>;

// `text` of the file `path`, which appears in errors only. A user error says where what is wrong:
// what is no TOML, a name that is no option or one of the command line alone, a value of the wrong
// kind.
[[nodiscard]] Result<RunRequest> parse_config_file(std::string_view text, const std::string& path,
                                                   std::span<const OptionShape> shapes);

// The file that asks for just this, with what was left out as comments. User error when a value is
// no UTF-8, which TOML has to be.
[[nodiscard]] Result<std::string> render_config_file(const RunRequest& wanted,
                                                     std::span<const OptionShape> shapes);

} // namespace vmm
