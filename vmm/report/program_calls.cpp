// SPDX-License-Identifier: MIT
#include "vmm/report/program_calls.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include <fmt/core.h>
#include <seccomp.h>

namespace vmm {
namespace {

std::string name_of_call(int number) {
  const std::unique_ptr<char, decltype(&std::free)> name(
      ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number), &std::free);
  return name ? std::string(name.get()) : fmt::format("number {}", number);
}

} // namespace

ProgramCalls program_calls(const abi::ProgramStart& start) {
  ProgramCalls calls{
      .made = {}, .missing = {}, .left = start.left, .by_instruction = start.by_instruction};
  for (std::size_t number = 0; number < abi::program_calls; ++number) {
    const std::uint64_t times = start.calls[number];
    if (times == 0) {
      continue;
    }
    const bool missing = ((start.missing[number / 64] >> (number % 64)) & 1) != 0;
    (missing ? calls.missing : calls.made)
        .push_back({name_of_call(static_cast<int>(number)), times});
  }
  for (auto* const list : {&calls.made, &calls.missing}) {
    std::ranges::sort(*list, std::ranges::greater{}, &ProgramCalls::Call::times);
  }
  return calls;
}

std::vector<std::string> missing_calls_text(const ProgramCalls& calls) {
  std::vector<std::string> lines;
  for (const ProgramCalls::Call& call : calls.missing) {
    lines.push_back(fmt::format("the program asked for {}, which is missing: {} times ENOSYS",
                                call.name, call.times));
  }
  return lines;
}

} // namespace vmm
