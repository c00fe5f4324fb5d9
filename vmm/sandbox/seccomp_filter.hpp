// SPDX-License-Identifier: MIT
// A list of allowed system calls as a BPF program for the kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <linux/filter.h>

#include "vmm/base/result.hpp"
#include "vmm/sandbox/syscall_rules.hpp"

namespace vmm {

// What becomes of a call that is not allowed.
enum class Violation : std::uint8_t {
  kill, // the process ends by SIGSYS before the call is made
  trap, // the same after report_traps() has named the call: for finding out what is missing
};

class SeccompFilter {
 public:
  // Environment error when libseccomp cannot make a program of the rules.
  static Result<SeccompFilter> compile(std::span<const SyscallRule> rules, Violation violation);

  // Confines the calling thread, and those it starts, for good. Needs forbid_new_privileges().
  // Further filters only take away.
  [[nodiscard]] Result<void> install() const;

 private:
  explicit SeccompFilter(std::vector<sock_filter> program) : program_(std::move(program)) {}
  std::vector<sock_filter> program_;
};

// Empty when the kernel takes filters, else why not.
[[nodiscard]] std::string why_no_seccomp();

// Process-wide: SIGSYS prints which call was not allowed and ends the process.
void report_traps();

} // namespace vmm
