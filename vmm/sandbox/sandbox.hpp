// SPDX-License-Identifier: MIT
// Gives up, after set-up and before the guest's first instruction, everything that running it does
// not need. In this order, because each step needs rights that the next one takes:
//
//   give_up_privileges()   one thread: descriptors, capabilities, no_new_privs, files, limits
//   enter(kind)            each thread that is started now, first thing: its seccomp filter
//   complete(threads)      the first thread, once the others are there: its own filter
//
// Only then may anything of the guest run. SECURITY.md says what is promised.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/sandbox/seccomp_filter.hpp"
#include "vmm/sandbox/syscall_rules.hpp"
#include "vmm/settings/sandbox_mode.hpp"

namespace vmm {

struct SandboxOptions {
  SandboxMode mode = SandboxMode::on;
  FeatureSet features;
  // Folders of files that are put in place or removed at the end.
  std::vector<std::string> folders;
  // The same, and the files are made there.
  std::vector<std::string> new_files;
  // Folders below which a program may read, or read and change.
  std::vector<std::string> readable;
  std::vector<std::string> changeable;
  // TCP ports that a program may connect to, of any address.
  std::vector<std::uint16_t> connect_ports;
  // That may yet be opened, all at once: connections to the control socket and to a debugger, and
  // a program's files and sockets.
  unsigned descriptors_to_come = 0;
  // Those of them without which nothing can be done. Environment error where the limit is lower.
  unsigned least_descriptors_to_come = 0;
  // Nothing that the process writes grows further, standard output in a file included.
  std::uint64_t longest_file_bytes = 0;
};

class Sandbox {
 public:
  // Gives up nothing yet. Environment error when the kernel has no seccomp filters: a user who
  // wants to do without says so. In a build with sanitizers the mode is off, whatever was asked
  // for: their runtimes need other calls.
  static Result<std::unique_ptr<Sandbox>> create(SandboxOptions options);
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;
  ~Sandbox() = default;

  // Before any thread is started.
  [[nodiscard]] Result<void> give_up_privileges() const;

  // On a new thread. A failure is told by complete().
  void enter(ThreadKind kind);
  // The same, as a component's first step on its thread.
  [[nodiscard]] ThreadStart start_of(ThreadKind kind) {
    return [this, kind] { enter(kind); };
  }

  // On the first thread: waits until `threads` others have entered, then enters as `main`.
  [[nodiscard]] Result<void> complete(unsigned threads);

  // One line: what is in force, what this kernel lacks.
  [[nodiscard]] std::string describe() const;

 private:
  explicit Sandbox(SandboxOptions options) : options_(std::move(options)) {}

  [[nodiscard]] Result<void> compile();
  [[nodiscard]] Result<void> install(ThreadKind kind) const;

  SandboxOptions options_;
  std::array<std::optional<SeccompFilter>, thread_kinds> filters_;
  std::mutex mutex_; // guards the next two
  unsigned entered_ = 0;
  std::optional<Error> failure_; // the first
  std::condition_variable changed_;
};

} // namespace vmm
