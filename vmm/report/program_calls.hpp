// SPDX-License-Identifier: MIT
// Which system calls a program in the guest has made, by the guest's own account.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/program_start.hpp"

namespace vmm {

struct ProgramCalls {
  struct Call {
    std::string name;
    std::uint64_t times = 0;
  };
  std::vector<Call> made;           // that there are, most often first
  std::vector<Call> missing;        // answered with ENOSYS
  std::uint64_t left = 0;           // times that the host's files were asked
  std::uint64_t by_instruction = 0; // of all calls, those by SYSCALL and not from a patched site
};

// `start` is in guest memory: nothing in it is believed beyond its being numbers.
[[nodiscard]] ProgramCalls program_calls(const abi::ProgramStart& start);

// A line for each missing call.
[[nodiscard]] std::vector<std::string> missing_calls_text(const ProgramCalls& calls);

} // namespace vmm
