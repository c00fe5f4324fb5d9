// SPDX-License-Identifier: MIT
// The command line: everything a user can ask of a run, checked as far as it can be without
// touching a file or the host. Pure: reads argv, returns a value.
//
// Workloads belong to the guest image, so the host does not know their names: it passes the name
// on, and the guest answers an unknown one with exit status 2. `--list-workloads` runs the image
// with the workload `list`.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "shared/abi_version.hpp"
#include "shared/address.hpp"
#include "shared/boot_info.hpp"
#include "shared/layout.h"
#include "shared/trace_record.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/units.hpp"
#include "vmm/settings/command_line.hpp"
#include "vmm/settings/config_file.hpp"
#include "vmm/settings/fault_options.hpp"
#include "vmm/settings/gdb_address.hpp"
#include "vmm/settings/hint_check.hpp"
#include "vmm/settings/host_mode.hpp"
#include "vmm/settings/memory_policy.hpp"
#include "vmm/settings/memory_price.hpp"
#include "vmm/settings/metrics_request.hpp"
#include "vmm/settings/network_request.hpp"
#include "vmm/settings/program_request.hpp"
#include "vmm/settings/report_settings.hpp"
#include "vmm/settings/sandbox_mode.hpp"

namespace vmm {

inline constexpr std::uint64_t min_guest_bytes = 16 * mib;
inline constexpr std::uint64_t max_guest_bytes = 256 * gib;
inline constexpr std::uint32_t most_repetitions = 10'000;
inline constexpr std::uint32_t most_profile_hz = 1000; // a sample takes some 10 us
inline constexpr std::uint32_t max_cpus = EBB_MAX_VCPUS;

enum class Speed : std::uint8_t {
  max,  // as fast as the guest can
  real, // with the pauses of the recording
};

// How the guest rings the host's doorbell.
enum class Transport : std::uint8_t {
  pio,       // port output that leaves the kernel, on every KVM
  ioeventfd, // port output that KVM turns into an eventfd's event: only for workers
  vmcall,    // hypercall, where KVM hands it out
};

enum class LiveMode : std::uint8_t {
  automatic, // redrawn on a terminal, few plain lines elsewhere
  on,        // redrawn even where standard output is not a terminal
  off,
};

enum class Verbosity : std::uint8_t {
  normal,
  quiet,   // no live view, no summary
  verbose, // also what is in force, in a line
};

enum class OracleUse : std::uint8_t {
  off,
  on, // debug: memory in flight is out of the guest's reach, later use is counted
      // (vmm/hints/oracle.hpp)
};

// When a trace begins.
enum class TraceStart : std::uint8_t {
  on,  // with the guest
  off, // when somebody asks for it
};

enum class PressureUse : std::uint8_t {
  off,
  automatic, // where the host tells that its memory is short
};

struct Config {
  std::optional<std::string> config_file; // that options came from
  std::string image;                      // as given; empty: the vmm's own
  std::uint64_t mem_bytes = 512 * mib;    // a multiple of 2 MiB
  std::uint32_t cpus = 1;
  Backing backing = Backing::thp;
  DiscardMethod discard = DiscardMethod::dontneed;
  abi::Order decline_below; // hints of a smaller order are declined; 0 declines none
  abi::ReportPolicy report;
  std::uint64_t report_timeout_ns = 0; // answers that take longer are given up on; 0: never
  bool report_automatic = false;       // order=auto
  std::optional<abi::Order> prefault;  // smallest order that the guest asks to be made resident
  PressureUse pressure = PressureUse::off;
  std::uint64_t memory_price_ns = default_memory_price_ns; // of 1 MiB for 1 s
  HostMode host = HostMode::sync;
  std::uint32_t workers = 1; // threads of an asynchronous or polling host
  FaultOptions host_faults;
  std::optional<std::string> control; // path of the control socket
  std::optional<GdbAddress> gdb;      // where a debugger connects; the guest waits for it
  std::string workload = "idle";
  ProgramRequest program;           // instead of a workload; without arguments: none
  NetworkRequest network;           // what it may do with TCP
  std::optional<std::string> input; // a recording, plain or xz
  std::optional<Speed> speed;       // as given; workloads that know of none must not hear of one
  std::uint64_t seed = 1;
  std::vector<std::string> guest_args;            // "key=value", in the order given, keys unique
  std::optional<std::string> stats;               // where the JSON goes
  std::optional<std::string> core;                // where a guest goes that crashed
  std::optional<MetricsRequest> metrics;          // where metrics go while the guest runs
  std::chrono::milliseconds metrics_period{1000}; // of a file; a socket tells when it is asked
  std::optional<std::string> trace;               // where the hypercall trace goes
  abi::TraceLevel trace_level = abi::TraceLevel::ranges;
  std::uint64_t trace_bytes = 0; // of a ring of the last records; 0: a file that grows
  TraceStart trace_start = TraceStart::on;
  bool guest_is_traced = false;           // it tells of what it does, for a trace now or later
  std::uint32_t profile_hz = 0;           // how often each vCPU is looked at; 0: never
  std::optional<std::string> profile_out; // where stacks that were seen then go
  bool profile_lines = false;             // with lines of source
  bool step = false;                      // hold the guest at its hypercalls and take commands
  std::uint32_t repeat = 1;               // so many guests, one after the other
  std::uint32_t warm_up = 0;              // and before them so many that do not count
  Verbosity verbosity = Verbosity::normal;
  HintCheck check_hints = HintCheck::off;
  OracleUse oracle = OracleUse::off;
  Transport transport = Transport::pio;
  LiveMode live = LiveMode::automatic;
  SandboxMode sandbox = SandboxMode::on;
  std::chrono::milliseconds sample_period{20};
  std::string kvm_device = "/dev/kvm";
  std::uint16_t abi_minor = abi::version_minor; // what is offered: this one's, or an older host's

  // Whether a Linux program is run, and not a workload.
  [[nodiscard]] bool runs_program() const { return !program.arguments.empty(); }
  // What a user calls what is run: the workload, or the program.
  [[nodiscard]] const std::string& name_of_run() const {
    return runs_program() ? program.arguments.front() : workload;
  }
  // Whether what reporting costs is balanced against what it saves: that takes measurements.
  [[nodiscard]] bool keeps_ledger() const { return stats || report_automatic; }
  // Whether what happens is recorded from the start: for a file, or for the stepper, which reads
  // what it shows.
  [[nodiscard]] bool records() const { return (trace && trace_start == TraceStart::on) || step; }
  // The same, or perhaps later.
  [[nodiscard]] bool may_record() const { return records() || trace || control; }
};

// --probe: say what this host offers instead of running a guest.
struct ProbeHost {
  std::string kvm_device = "/dev/kvm";
  std::optional<std::string> stats; // where the JSON goes
};

// argv without or with a program name of any spelling at [0]; at least one element. `read` is asked
// for the content of --config. Every error is of class user, but for those of `read`.
Result<std::variant<Config, ShowText, ProbeHost>>
parse_command_line(std::span<const char* const> argv, const FileReader& read);

} // namespace vmm
