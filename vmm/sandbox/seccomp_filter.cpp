// SPDX-License-Identifier: MIT
#include "vmm/sandbox/seccomp_filter.hpp"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>

#include "vmm/base/unique_fd.hpp"

namespace vmm {
namespace {

constexpr std::size_t max_program = 4096; // BPF_MAXINSNS
constexpr int bad_system_call_status = 128 + SIGSYS;

struct Release {
  void operator()(void* context) const { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

// libseccomp returns negated errno values.
std::unexpected<Error> library_error(std::string_view what, int result) {
  return environment_error("cannot make a seccomp filter: {}: {}", what, errno_text(-result));
}

Result<void> add(void* context, const SyscallRule& rule) {
  std::vector<scmp_arg_cmp> tests;
  tests.reserve(rule.tests.size());
  for (const ArgumentTest& test : rule.tests) {
    tests.push_back({test.index, SCMP_CMP_MASKED_EQ, test.mask, test.value});
  }
  const int result = ::seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.number,
                                              static_cast<unsigned>(tests.size()), tests.data());
  // The same rule from two lists is no mistake.
  return result == 0 || result == -EEXIST
             ? Result<void>{}
             : library_error(fmt::format("system call {}", rule.number), result);
}

// By way of a pair of sockets, which takes the longest program: the library hands programs out
// through descriptors only, and a file, also one in memory, would be subject to a limit on files.
Result<std::vector<sock_filter>> program_of(void* context) {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return system_error("cannot make sockets for a seccomp filter");
  }
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  if (const int result = ::seccomp_export_bpf(context, writer.get()); result != 0) {
    return library_error("export", result);
  }
  std::vector<sock_filter> program(max_program);
  const ssize_t bytes = ::read(reader.get(), program.data(), max_program * sizeof(sock_filter));
  if (bytes <= 0) {
    return system_error("cannot read a seccomp filter back");
  }
  program.resize(static_cast<std::size_t>(bytes) / sizeof(sock_filter));
  return program;
}

// The text for each system call that is not allowed, by its number. Made beforehand: the handler
// may have interrupted the allocator, whose call it then is, and must not call it again.
constexpr std::size_t named_calls = 512;
std::array<std::string, named_calls + 1> trap_texts; // the last: whatever has no name

std::string trap_text(std::string_view call) {
  return fmt::format("vmm: sandbox: system call {} is not allowed here\n", call);
}

void on_trap(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const auto number = static_cast<std::size_t>(info->si_syscall);
  const std::string& text = trap_texts[number < named_calls ? number : named_calls];
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  ::_exit(bad_system_call_status);
}

} // namespace

Result<SeccompFilter> SeccompFilter::compile(std::span<const SyscallRule> rules,
                                             Violation violation) {
  const Context context(
      ::seccomp_init(violation == Violation::trap ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS));
  if (!context) {
    return environment_error("cannot make a seccomp filter: out of memory");
  }
  // The 32-bit entries are another way to the same kernel.
  if (const int result =
          ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
      result != 0) {
    return library_error("bad architectures", result);
  }
  for (const SyscallRule& rule : rules) {
    EBB_TRY(add(context.get(), rule));
  }
  EBB_TRY_ASSIGN(program, program_of(context.get()));
  return SeccompFilter(std::move(program));
}

Result<void> SeccompFilter::install() const {
  const sock_fprog program{
      static_cast<unsigned short>(program_.size()),
      const_cast<sock_filter*>(program_.data())}; // NOLINT(*-const-cast): the kernel only reads
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &program) != 0) {
    return system_error("cannot install a seccomp filter");
  }
  return {};
}

std::string why_no_seccomp() {
  std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0U, &action) == 0 ? std::string{}
                                                                            : errno_text(errno);
}

void report_traps() {
  for (std::size_t number = 0; number < named_calls; ++number) {
    char* const name =
        ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number));
    trap_texts[number] =
        trap_text(fmt::format("{} ({})", number, name != nullptr ? name : "unknown"));
    std::free(name); // NOLINT(cppcoreguidelines-no-malloc): the library's
  }
  trap_texts[named_calls] = trap_text("of an unknown number");
  struct sigaction action {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);
}

} // namespace vmm
