// SPDX-License-Identifier: MIT
#include "vmm/settings/options.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "shared/abi_version.hpp"
#include "vmm/base/option_values.hpp"
#include "vmm/settings/guest_arguments.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t mem_step_bytes = abi::huge_page_bytes;
constexpr std::uint64_t longest_sample_ms = 10'000;
constexpr std::uint64_t shortest_metrics_ms = 10;
constexpr std::uint64_t longest_metrics_ms = 3'600'000;
constexpr std::uint64_t min_trace_bytes = mib;
constexpr std::uint64_t max_trace_bytes = 64 * gib;
// The guest's caches hold smaller blocks, touched or not.
constexpr std::uint64_t smallest_prefault_order = 4;

template <typename T, std::size_t Count>
using Names = std::array<std::pair<std::string_view, T>, Count>;

constexpr Names<Backing, 4> backings{{{name_of(Backing::thp), Backing::thp},
                                      {name_of(Backing::small_pages), Backing::small_pages},
                                      {name_of(Backing::memfd), Backing::memfd},
                                      {name_of(Backing::hugetlb), Backing::hugetlb}}};
constexpr Names<DiscardMethod, 3> discard_methods{
    {{name_of(DiscardMethod::dontneed), DiscardMethod::dontneed},
     {name_of(DiscardMethod::free_lazily), DiscardMethod::free_lazily},
     {name_of(DiscardMethod::none), DiscardMethod::none}}};
constexpr Names<HostMode, 3> host_modes{{{name_of(HostMode::sync), HostMode::sync},
                                         {name_of(HostMode::async), HostMode::async},
                                         {name_of(HostMode::poll), HostMode::poll}}};
constexpr Names<std::uint16_t, 3> abi_minors{
    {{"1.0", std::uint16_t{0}}, {"1.1", std::uint16_t{1}}, {"1.2", std::uint16_t{2}}}};
static_assert(abi_minors.size() == abi::version_minor + 1, "a new version is a new choice");
constexpr Names<Speed, 2> speeds{{{"max", Speed::max}, {"real", Speed::real}}};
constexpr Names<Transport, 3> transports{
    {{"pio", Transport::pio}, {"ioeventfd", Transport::ioeventfd}, {"vmcall", Transport::vmcall}}};
constexpr Names<LiveMode, 3> live_modes{
    {{"auto", LiveMode::automatic}, {"on", LiveMode::on}, {"off", LiveMode::off}}};
constexpr Names<PressureUse, 2> pressure_uses{
    {{"auto", PressureUse::automatic}, {"off", PressureUse::off}}};
constexpr Names<SandboxMode, 3> sandbox_modes{
    {{"on", SandboxMode::on}, {"off", SandboxMode::off}, {"trap", SandboxMode::trap}}};
constexpr Names<TraceStart, 2> trace_starts{{{"on", TraceStart::on}, {"off", TraceStart::off}}};
constexpr Names<abi::TraceLevel, 3> trace_levels{{{"batches", abi::TraceLevel::batches},
                                                  {"ranges", abi::TraceLevel::ranges},
                                                  {"all", abi::TraceLevel::all}}};

// --- kinds of values ---

template <auto Member>
Result<void> text(std::string_view /*option*/, std::string_view value, Config& config) {
  config.*Member = std::string(value);
  return {};
}

template <auto Member, const auto& Choices>
Result<void> one_of(std::string_view option, std::string_view value, Config& config) {
  using Value = typename std::decay_t<decltype(Choices)>::value_type::second_type;
  EBB_TRY_ASSIGN(chosen, choose<Value>(option, value, Choices));
  config.*Member = chosen;
  return {};
}

template <auto Member, std::uint64_t Least, std::uint64_t Most>
Result<void> number(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(parsed, number_within(option, value, Least, Most));
  using Value = std::decay_t<decltype(config.*Member)>;
  config.*Member = static_cast<Value>(parsed);
  return {};
}

template <auto Member, std::uint64_t Least>
Result<void> order(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(parsed, number_within(option, value, Least, abi::max_order));
  config.*Member = abi::Order{static_cast<std::uint8_t>(parsed)};
  return {};
}

template <auto Member, auto Value>
Result<void> set(std::string_view /*option*/, std::string_view /*value*/, Config& config) {
  config.*Member = Value;
  return {};
}

// What is given is all that there is to it: config.cpp looks.
Result<void> noted(std::string_view /*option*/, std::string_view /*value*/, Config& /*config*/) {
  return {};
}

// --- values of one option alone ---

Result<void> memory_size(std::string_view option, std::string_view value, Config& config) {
  const auto bytes = parse_size(value);
  if (!bytes) {
    return user_error("{} {:?}: not a size; write a whole number and K, M, G or T, such as 512M",
                      option, value);
  }
  if (*bytes < min_guest_bytes || *bytes > max_guest_bytes) {
    return user_error("{} {:?}: must be from {} to {}", option, value, exact_size(min_guest_bytes),
                      exact_size(max_guest_bytes));
  }
  if (*bytes % mem_step_bytes != 0) {
    const std::uint64_t below = abi::align_down(*bytes, mem_step_bytes);
    return user_error("{} {:?}: must be a multiple of {}; the nearest are {} and {}", option, value,
                      exact_size(mem_step_bytes), exact_size(below),
                      exact_size(below + mem_step_bytes));
  }
  config.mem_bytes = *bytes;
  return {};
}

Result<void> guest_argument(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY(check_guest_argument(option, value, config.guest_args));
  config.guest_args.emplace_back(value);
  return {};
}

Result<void> report_policy(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(report, parse_report_settings(option, value));
  config.report = report.policy;
  config.report_timeout_ns = report.timeout_ns;
  config.report_automatic = report.automatic;
  return {};
}

Result<void> metrics_request(std::string_view /*option*/, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(request, parse_metrics_request(value));
  config.metrics = std::move(request);
  return {};
}

Result<void> memory_price(std::string_view option, std::string_view value, Config& config) {
  const auto price = parse_duration_ns(value);
  if (!price || *price == 0) {
    return user_error("{} {:?}: not a time; write such as 1ms or 130us", option, value);
  }
  config.memory_price_ns = *price;
  return {};
}

Result<void> host_faults(std::string_view /*option*/, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(faults, parse_fault_options(value));
  config.host_faults = faults;
  return {};
}

Result<void> trace_size(std::string_view option, std::string_view value, Config& config) {
  const auto bytes = parse_size(value);
  if (!bytes || *bytes < min_trace_bytes || *bytes > max_trace_bytes) {
    return user_error("{} {:?}: must be a size from {} to {}", option, value,
                      exact_size(min_trace_bytes), exact_size(max_trace_bytes));
  }
  config.trace_bytes = *bytes;
  return {};
}

Result<void> gdb_address(std::string_view /*option*/, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(address, parse_gdb_address(value));
  config.gdb = std::move(address);
  return {};
}

Result<void> sample_period(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(period, number_within(option, value, 1, longest_sample_ms));
  config.sample_period = std::chrono::milliseconds(period);
  return {};
}

Result<void> metrics_period(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(period, number_within(option, value, shortest_metrics_ms, longest_metrics_ms));
  config.metrics_period = std::chrono::milliseconds(period);
  return {};
}

Result<void> program_variable(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY(check_variable(option, value));
  config.program.environment.emplace_back(value);
  return {};
}

Result<void> no_inheritance(std::string_view /*option*/, std::string_view /*value*/,
                            Config& config) {
  config.program.inherit = ProgramRequest::Inherit::nothing;
  return {};
}

Result<void> program_directory(std::string_view option, std::string_view value, Config& config) {
  if (!value.starts_with('/')) {
    return user_error("{} {:?}: must begin with /", option, value);
  }
  config.program.directory = std::string(value);
  return {};
}

Result<void> program_name(std::string_view /*option*/, std::string_view value, Config& config) {
  config.program.first_argument = std::string(value);
  return {};
}

Result<void> program_user(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(user, parse_user(option, value));
  config.program.user = user;
  return {};
}

Result<void> program_root(std::string_view /*option*/, std::string_view value, Config& config) {
  config.program.root = std::string(value);
  return {};
}

Result<void> program_bind(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(mount, parse_bind(option, value));
  config.program.binds.push_back(std::move(mount));
  return {};
}

Result<void> program_listen(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(listen, parse_listen(option, value));
  config.network.listens.push_back(std::move(listen));
  return {};
}

Result<void> program_connect(std::string_view option, std::string_view value, Config& config) {
  EBB_TRY_ASSIGN(connect, parse_connect(option, value));
  config.network.connects.push_back(std::move(connect));
  return {};
}

constexpr const char* guest = "Guest";
constexpr const char* program = "Linux program";
constexpr const char* free_memory = "Free memory";
constexpr const char* output = "Output";
constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();

constexpr OptionRow rows[] = {
    {{"--mem", "SIZE", guest, "RAM, 16M to 256G in steps of 2M [512M]"}, memory_size},
    {{"--cpus", "N", guest, "Virtual CPUs, 1 to 16 [1]"}, number<&Config::cpus, 1, max_cpus>},
    {{"--workload", "NAME", guest, "What the guest runs [idle]"}, text<&Config::workload>},
    {{"--list-workloads", "", guest, "List the image's workloads, then exit", OptionUse::flag},
     noted},
    {{"--input", "FILE", guest, "Page trace for the workload, .pgt or .pgt.xz"},
     text<&Config::input>},
    {{"--speed", "max|real", guest, "Replay without or with the recorded pauses [max]"},
     one_of<&Config::speed, speeds>},
    {{"--arg", "KEY=VALUE", guest, "Parameter of the workload; repeatable", OptionUse::often},
     guest_argument},
    {{"--seed", "N", guest, "Seed of the workload and of --host-fault [1]"},
     number<&Config::seed, 0, any>},
    {{"--bind", "HOST[:GUEST][:ro|:rw]", program,
      "Directory that the program sees, there or elsewhere, for reading (ro) or also writing (rw) "
      "[ro]; "
      "repeatable",
      OptionUse::often},
     program_bind},
    {{"--root", "DIR", program, "What the program sees as /, for reading [/]"}, program_root},
    {{"--env", "NAME=VALUE", program, "Variable on top of this environment; repeatable",
      OptionUse::often},
     program_variable},
    {{"--clear-env", "", program, "Only the variables given with --env", OptionUse::flag},
     no_inheritance},
    {{"--cwd", "DIR", program, "Working directory [this one]"}, program_directory},
    {{"--argv0", "NAME", program, "What the program is told as its name [as it is called]"},
     program_name},
    {{"--user", "UID[:GID]", program, "Whom the program takes itself for [this user]"},
     program_user},
    {{"--listen", "[HOST:]PORT[:GUESTPORT]", program,
      "TCP port whose connections are the program's, there or at another port of the guest's; PORT "
      "0: any free one; repeatable [none; HOST: 127.0.0.1]",
      OptionUse::often},
     program_listen},
    {{"--connect", "HOST:PORT", program,
      "Where the program may connect to by TCP; repeatable [nowhere]", OptionUse::often},
     program_connect},
    {{"--list-syscalls", "", program, "List the system calls that the image has, then exit",
      OptionUse::flag},
     noted},
    {{"--report", "POLICY", free_memory,
      "on, off, or any of order=0..10|auto,batch=1..512,keep=SIZE,delay=MS,timeout=MS,"
      "strategy=batch|each|scan|decay|adaptive "
      "[order=9,batch=256,keep=0,delay=0,timeout=0,strategy=batch]"},
     report_policy},
    {{"--memory-price", "TIME", free_memory,
      "CPU time that 1 MiB for 1 s is worth, for net benefit [1ms]"},
     memory_price},
    {{"--pressure", "auto|off", free_memory,
      "Give up reserve and delays while the host, or the vmm's cgroup, is short of memory [off]"},
     one_of<&Config::pressure, pressure_uses>},
    {{"--prefault", "ORDER", free_memory,
      "Have memory behind discarded blocks of at least this order (4..10) in one go when they "
      "are allocated [never]"},
     order<&Config::prefault, smallest_prefault_order>},
    {{"--host", "sync|async|poll", free_memory,
      "Answer hints in the doorbell's exit, on threads, or on threads that watch [sync]"},
     one_of<&Config::host, host_modes>},
    {{"--workers", "N", free_memory, "Threads of --host async and poll, 1 to 8 [1]"},
     number<&Config::workers, 1, max_host_workers>},
    {{"--host-fault", "FAULTS", free_memory,
      "Misbehave: any of delay=MS,drop=R,duplicate=R,partial=R,decline=R,fail=R (rates 0..1),"
      "reorder,stall-after=N"},
     host_faults},
    {{"--control", "PATH", free_memory, "Unix socket that takes commands while the guest runs"},
     text<&Config::control>},
    {{"--backing", "thp|4k|memfd|hugetlb", free_memory, "What backs RAM [thp]"},
     one_of<&Config::backing, backings>},
    {{"--discard", "dontneed|free|none", free_memory, "How memory is given back [dontneed]"},
     one_of<&Config::discard, discard_methods>},
    {{"--transport", "pio|ioeventfd|vmcall", free_memory,
      "How the guest rings the host [sync: pio; async, poll: ioeventfd]"},
     one_of<&Config::transport, transports>},
    {{"--decline-below", "ORDER", free_memory, "Decline hints of smaller blocks [0]"},
     order<&Config::decline_below, 0>},
    {{"--check-hints", "", free_memory, "Debug: stop a guest that hints memory in use",
      OptionUse::flag},
     set<&Config::check_hints, HintCheck::audit>},
    {{"--oracle", "", free_memory, "Debug: stop a guest that uses memory it has hinted",
      OptionUse::flag},
     set<&Config::oracle, OracleUse::on>},
    {{"--stats", "FILE", output, "Write statistics as JSON"}, text<&Config::stats>},
    {{"--repeat", "N", output, "Run N guests, one after the other; tell medians and quartiles [1]"},
     number<&Config::repeat, 1, most_repetitions>},
    {{"--warm-up", "M", output, "With --repeat: M guests before these, which do not count [0]"},
     number<&Config::warm_up, 0, most_repetitions>},
    {{"--metrics", "FILE|unix:PATH", output,
      "Tell metrics while the guest runs: as Prometheus' text, or lines of JSON (*.jsonl)"},
     metrics_request},
    {{"--metrics-ms", "MS", output, "Period of the metrics in a file [1000]"}, metrics_period},
    {{"--trace", "FILE", output, "Record a hypercall trace; read it with hvtrace"},
     text<&Config::trace>},
    {{"--trace-level", "batches|ranges|all", output, "What is recorded [ranges; --step: all]"},
     one_of<&Config::trace_level, trace_levels>},
    {{"--trace-start", "on|off", output,
      "off: not before trace start over --control, or in gdb [on]"},
     one_of<&Config::trace_start, trace_starts>},
    {{"--trace-size", "SIZE", output, "Keep the last records only, in a file of SIZE"}, trace_size},
    {{"--core", "FILE", output,
      "Leave a guest that crashes or panics, not one whose program does, as a core file for gdb"},
     text<&Config::core>},
    {{"--profile", "HZ", output,
      "See where each vCPU is, HZ times a second, 1 to 1000, and tell the functions [never]"},
     number<&Config::profile_hz, 1, most_profile_hz>},
    {{"--profile-out", "FILE", output,
      "What --profile saw as folded stacks, for flame graphs; as *.json with times"},
     text<&Config::profile_out>},
    {{"--profile-lines", "", output,
      "With --profile: tell the source file and line of each place, too", OptionUse::flag},
     set<&Config::profile_lines, true>},
    {{"--step", "", output, "Stop at each hypercall and take commands; h explains them",
      OptionUse::flag},
     set<&Config::step, true>},
    {{"--quiet", "", output, "Neither live view nor summary", OptionUse::flag},
     set<&Config::verbosity, Verbosity::quiet>},
    {{"--verbose", "", output, "Also say how the vmm is confined", OptionUse::flag},
     set<&Config::verbosity, Verbosity::verbose>},
    {{"--live", "auto|on|off", output, "Live view of memory [auto]"},
     one_of<&Config::live, live_modes>},
    {{"--sample-ms", "MS", output, "Period of the memory samples [20]"}, sample_period},
    {{"--sandbox", "on|off|trap", output,
      "Confine the vmm before the guest runs; trap names a forbidden system call [on]"},
     one_of<&Config::sandbox, sandbox_modes>},
    {{"--kvm", "PATH", output, "The KVM device [/dev/kvm]"}, text<&Config::kvm_device>},
    {{"--gdb", "PORT|unix:PATH", output, "Wait for gdb's `target remote` there"}, gdb_address},
    {{"--abi", "1.0|1.1|1.2", output, "Behave as a host of that ABI version [1.2]"},
     one_of<&Config::abi_minor, abi_minors>},
    {{"--config", "FILE", output,
      "Options from a TOML file, by the same names; what is given here wins"},
     text<&Config::config_file>},
    {{"--print-config", "", output, "Print what is asked for as such a file, then exit",
      OptionUse::flag},
     noted},
    {{"--probe", "", output, "Say what this host offers and what it costs, then exit",
      OptionUse::flag},
     noted},
};

} // namespace

std::span<const OptionRow> option_rows() {
  return rows;
}

} // namespace vmm
