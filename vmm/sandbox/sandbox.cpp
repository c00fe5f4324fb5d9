// SPDX-License-Identifier: MIT
#include "vmm/sandbox/sandbox.hpp"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "vmm/base/sanitizers.hpp"
#include "vmm/sandbox/landlock.hpp"
#include "vmm/sandbox/privileges.hpp"

namespace vmm {
Result<std::unique_ptr<Sandbox>> Sandbox::create(SandboxOptions options) {
  if (has_address_sanitizer || has_thread_sanitizer) {
    options.mode = SandboxMode::off;
  }
  std::unique_ptr<Sandbox> sandbox(new Sandbox(std::move(options)));
  if (sandbox->options_.mode != SandboxMode::off) {
    EBB_TRY(sandbox->compile());
  }
  return sandbox;
}

Result<void> Sandbox::compile() {
  if (const std::string reason = why_no_seccomp(); !reason.empty()) {
    return environment_error(
        "this kernel takes no seccomp filters ({}); --sandbox off runs without", reason);
  }
  const Violation violation =
      options_.mode == SandboxMode::trap ? Violation::trap : Violation::kill;
  for (std::uint8_t index = 0; index < thread_kinds; ++index) {
    const auto kind = static_cast<ThreadKind>(index);
    // What is never started needs no filter.
    if ((kind == ThreadKind::control && !options_.features.has(SandboxFeature::control_socket)) ||
        (kind == ThreadKind::trace && !options_.features.has(SandboxFeature::trace)) ||
        (kind == ThreadKind::pressure && !options_.features.has(SandboxFeature::pressure)) ||
        (kind == ThreadKind::metrics && !options_.features.has(SandboxFeature::metrics_file) &&
         !options_.features.has(SandboxFeature::metrics_lines) &&
         !options_.features.has(SandboxFeature::metrics_socket)) ||
        (kind == ThreadKind::debugger && !options_.features.has(SandboxFeature::debugger)) ||
        (kind == ThreadKind::files && !options_.features.has(SandboxFeature::program)) ||
        (kind == ThreadKind::sockets && !options_.features.has(SandboxFeature::listen) &&
         !options_.features.has(SandboxFeature::connect))) {
      continue;
    }
    EBB_TRY_ASSIGN(filter, SeccompFilter::compile(
                               syscall_rules(kind, options_.features, ::getpid()), violation));
    filters_[index] = std::move(filter);
  }
  return {};
}

Result<void> Sandbox::give_up_privileges() const {
  if (options_.mode == SandboxMode::off) {
    return {};
  }
  if (options_.mode == SandboxMode::trap) {
    report_traps();
  }
  // The C library looks at what kind of file standard output is when it makes this buffer.
  static_cast<void>(std::setvbuf(stdout, nullptr, _IOFBF, BUFSIZ));
  EBB_TRY(close_inherited_descriptors());
  if (!options_.features.has(SandboxFeature::terminal_input) &&
      !options_.features.has(SandboxFeature::program)) {
    EBB_TRY(detach_standard_input());
  }
  const unsigned used = static_cast<unsigned>(highest_descriptor()) + 1;
  EBB_TRY(forbid_new_privileges());
  if (landlock_version() > 0) {
    EBB_TRY(confine_by_landlock({.put_in_place = options_.folders,
                                 .replace = options_.new_files,
                                 .read = options_.readable,
                                 .change = options_.changeable,
                                 .connect_ports = options_.connect_ports}));
  }
  EBB_TRY(limit_resources(options_.longest_file_bytes,
                          {.least = used + options_.least_descriptors_to_come,
                           .most = used + options_.descriptors_to_come}));
  return drop_capabilities();
}

Result<void> Sandbox::install(ThreadKind kind) const {
  if (options_.mode == SandboxMode::off) {
    return {};
  }
  const std::optional<SeccompFilter>& filter = filters_[static_cast<std::size_t>(kind)];
  if (!filter) {
    return environment_error("no sandbox was prepared for a {} thread", name_of(kind));
  }
  return filter->install();
}

void Sandbox::enter(ThreadKind kind) {
  const Result<void> installed = install(kind);
  {
    const std::scoped_lock lock(mutex_);
    ++entered_;
    if (!installed && !failure_) {
      failure_ = installed.error();
    }
  }
  changed_.notify_all();
}

Result<void> Sandbox::complete(unsigned threads) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return entered_ >= threads; });
  if (failure_) {
    return std::unexpected(*failure_);
  }
  return install(ThreadKind::main);
}

std::string Sandbox::describe() const {
  if (options_.mode == SandboxMode::off) {
    return (has_address_sanitizer || has_thread_sanitizer)
               ? "sandbox: off (a build with sanitizers)"
               : "sandbox: off";
  }
  const unsigned version = landlock_version();
  return fmt::format("sandbox: {}", version > 0
                                        ? fmt::format("seccomp, Landlock version {}", version)
                                        : std::string("seccomp; this kernel has no Landlock"));
}

} // namespace vmm
