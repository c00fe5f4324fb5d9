// SPDX-License-Identifier: MIT
// Which system calls each thread of a running vmm may make: the data behind the seccomp filters.
// Whatever is not listed ends the process.
//
// All threads share one address space, so what a hostile guest could do with a vmm that it has
// taken over is what all of them together may do. That each has rules of its own makes it harder,
// not impossible, to get that far.
//
// A new kind of thread, or an option that needs more, is a ThreadKind or a SandboxFeature and its
// rules in syscall_rules.cpp; `--sandbox trap` names what is missing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace vmm {

enum class ThreadKind : std::uint8_t {
  main,     // waits for the end, then reports
  vcpu,     // KVM_RUN and the guest's hypercalls
  worker,   // takes and answers batches; also postponed answers
  sampler,  // memory samples and the live view
  control,  // the control socket
  trace,    // keeps the trace file ahead of its writers
  debugger, // talks to a debugger
  files,    // carries out file calls of a program in the guest
  sockets,  // carries out its socket calls
  metrics,  // tells metrics
  pressure, // hears of short memory
};
inline constexpr std::uint8_t thread_kinds = 11;

[[nodiscard]] std::string_view name_of(ThreadKind kind);

// What a run was asked to do beyond running a guest.
enum class SandboxFeature : std::uint8_t {
  control_socket, // serves clients; removes the socket's file at the end
  stats_file,     // puts a file into place at the end
  core_file,      // the same with what is left of a guest
  trace,          // writes a trace, if only perhaps
  trace_later,    // begins one while the guest runs, in a file that is open
  pressure,       // hears of short memory
  metrics_file,   // puts a file into place again and again
  metrics_lines,  // adds to a file
  metrics_socket, // serves clients; removes the socket's file at the end
  debugger,       // reads and sets vCPU registers, serves a debugger's connection
  terminal_input, // reads standard input
  profile,        // looks at vCPUs by the clock; puts a file into place at the end
  program,        // runs a program, which reads files and standard input
  program_changes_files,
  listen,  // a program takes connections at ports that are bound before
  connect, // a program begins connections
};

class FeatureSet {
 public:
  constexpr FeatureSet() = default;
  constexpr FeatureSet(std::initializer_list<SandboxFeature> features) {
    for (const SandboxFeature feature : features) {
      add(feature);
    }
  }
  constexpr void add(SandboxFeature feature) { bits_ |= bit(feature); }
  [[nodiscard]] constexpr bool has(SandboxFeature feature) const {
    return (bits_ & bit(feature)) != 0;
  }

 private:
  static constexpr std::uint32_t bit(SandboxFeature feature) {
    return std::uint32_t{1} << static_cast<unsigned>(feature);
  }
  std::uint32_t bits_ = 0;
};

// Holds when (argument & mask) == value.
struct ArgumentTest {
  unsigned index = 0; // 0...5
  std::uint64_t mask = ~std::uint64_t{0};
  std::uint64_t value = 0;
};

// A call that is allowed when all tests hold; at most one for each argument.
struct SyscallRule {
  int number = 0;
  std::vector<ArgumentTest> tests;
};

// Several rules for one call: any of them will do. `process` is this process's id, the only one
// that signals may be sent to.
[[nodiscard]] std::vector<SyscallRule> syscall_rules(ThreadKind kind, FeatureSet features,
                                                     int process);

} // namespace vmm
