// SPDX-License-Identifier: MIT
#include "vmm/settings/config.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>

#include "shared/abi_version.hpp"
#include "vmm/base/option_values.hpp"
#include "vmm/base/version.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t mem_step_bytes = abi::huge_page_bytes;
constexpr std::uint64_t longest_sample_ms = 10'000;
// The guest's caches hold smaller blocks, touched or not.
constexpr std::uint64_t smallest_prefault_order = 4;

// Keys of BootInfo::args that options of their own set.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> reserved_arg_keys{
    {{"workload", "--workload"}, {"speed", "--speed"}}};

// The command line as CLI11 took it apart, before anything is checked.
struct RawOption {
  CLI::Option* option = nullptr;
  std::string value;

  [[nodiscard]] bool given() const { return option->count() > 0; }
};

constexpr std::array<std::pair<std::string_view, Backing>, 4> backings{
    {{name_of(Backing::thp), Backing::thp},
     {name_of(Backing::small_pages), Backing::small_pages},
     {name_of(Backing::memfd), Backing::memfd},
     {name_of(Backing::hugetlb), Backing::hugetlb}}};
constexpr std::array<std::pair<std::string_view, DiscardMethod>, 3> discard_methods{
    {{name_of(DiscardMethod::dontneed), DiscardMethod::dontneed},
     {name_of(DiscardMethod::free_lazily), DiscardMethod::free_lazily},
     {name_of(DiscardMethod::none), DiscardMethod::none}}};
constexpr std::array<std::pair<std::string_view, HostMode>, 3> host_modes{
    {{name_of(HostMode::sync), HostMode::sync},
     {name_of(HostMode::async), HostMode::async},
     {name_of(HostMode::poll), HostMode::poll}}};
constexpr std::array<std::pair<std::string_view, std::uint16_t>, 3> abi_minors{
    {{"1.0", std::uint16_t{0}}, {"1.1", std::uint16_t{1}}, {"1.2", std::uint16_t{2}}}};
constexpr std::array<std::pair<std::string_view, Speed>, 2> speeds{
    {{"max", Speed::max}, {"real", Speed::real}}};
constexpr std::array<std::pair<std::string_view, Transport>, 3> transports{
    {{"pio", Transport::pio}, {"ioeventfd", Transport::ioeventfd}, {"vmcall", Transport::vmcall}}};
constexpr std::array<std::pair<std::string_view, LiveMode>, 3> live_modes{
    {{"auto", LiveMode::automatic}, {"on", LiveMode::on}, {"off", LiveMode::off}}};

constexpr std::array<std::pair<std::string_view, SandboxMode>, 3> sandbox_modes{
    {{"on", SandboxMode::on}, {"off", SandboxMode::off}, {"trap", SandboxMode::trap}}};

constexpr std::array<std::pair<std::string_view, abi::TraceLevel>, 3> trace_levels{
    {{"batches", abi::TraceLevel::batches},
     {"ranges", abi::TraceLevel::ranges},
     {"all", abi::TraceLevel::all}}};

constexpr std::uint64_t min_trace_bytes = mib;
constexpr std::uint64_t max_trace_bytes = 64 * gib;

Result<std::uint64_t> memory_size(std::string_view text) {
  const auto bytes = parse_size(text);
  if (!bytes) {
    return user_error("--mem {:?}: not a size; write a whole number and K, M, G or T, such as 512M",
                      text);
  }
  if (*bytes < min_guest_bytes || *bytes > max_guest_bytes) {
    return user_error("--mem {:?}: must be from {} to {}", text, exact_size(min_guest_bytes),
                      exact_size(max_guest_bytes));
  }
  if (*bytes % mem_step_bytes != 0) {
    const std::uint64_t below = abi::align_down(*bytes, mem_step_bytes);
    return user_error("--mem {:?}: must be a multiple of {}; the nearest are {} and {}", text,
                      exact_size(mem_step_bytes), exact_size(below),
                      exact_size(below + mem_step_bytes));
  }
  return *bytes;
}

bool is_key_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9') ||
         character == '_' || character == '-';
}

Result<std::vector<std::string>> guest_arguments(std::vector<std::string> args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string_view text = args[i];
    const std::string_view key = key_of(text);
    if (key.size() == text.size() || key.empty() || key.size() + 1 == text.size()) {
      return user_error("--arg {:?}: must be KEY=VALUE, such as size=1G", text);
    }
    if (!std::all_of(key.begin(), key.end(), is_key_character)) {
      return user_error("--arg {:?}: a key has only a-z, 0-9, _ and -", text);
    }
    for (const auto& [reserved, option] : reserved_arg_keys) {
      if (key == reserved) {
        return user_error("--arg {:?}: use {} instead", text, option);
      }
    }
    const auto seen = args.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(args.begin(), seen,
                    [key](const std::string& other) { return key_of(other) == key; })) {
      return user_error("--arg {:?}: the key {} is given twice", text, key);
    }
  }
  return args;
}

// One line for each way in which CLI11 can refuse the shape of a command line.
std::string describe(const CLI::ParseError& error, const CLI::App& app) {
  const std::vector<std::string> extras = app.remaining();
  for (const std::string& extra : extras) {
    if (extra.starts_with("-") && extra.size() > 1) {
      return fmt::format("{:?}: no such option; see vmm --help", extra);
    }
  }
  if (!extras.empty()) {
    return fmt::format("{:?}: unexpected argument; there is one guest image", extras.front());
  }
  const std::string_view text = error.what();
  if (error.get_name() == "RequiredError") {
    return "no guest image given; start as in: vmm guest.bin";
  }
  if (error.get_name() == "ArgumentMismatch" && text.starts_with('-')) {
    return fmt::format("{}: needs a value; see vmm --help", text.substr(0, text.find(':')));
  }
  std::string line(text.substr(0, text.find('\n')));
  return line + "; see vmm --help";
}

// Declares the options and takes the command line apart.
class CommandLine {
 public:
  CommandLine() {
    app_.set_version_flag("--version", fmt::format("vmm {} (guest ABI {}.{})", version,
                                                   abi::version_major, abi::version_minor));
    app_.get_formatter()->column_width(30);
    app_.add_option("IMAGE", image, "Guest image: guest.bin or guest.elf");

    app_.option_defaults()->group("Guest");
    add(mem, "--mem", "SIZE", "RAM, 16M to 256G in steps of 2M [512M]");
    add(cpus, "--cpus", "N", "Virtual CPUs, 1 to 16 [1]");
    add(workload, "--workload", "NAME", "What the guest runs [idle]");
    list_workloads = add_flag("--list-workloads", "List the image's workloads, then exit");
    add(input, "--input", "FILE", "Page trace for the workload, .pgt or .pgt.xz");
    add(speed, "--speed", "max|real", "Replay without or with the recorded pauses [max]");
    app_.add_option("--arg", args, "Parameter of the workload; repeatable")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    add(seed, "--seed", "N", "Seed of the workload and of --host-fault [1]");

    app_.option_defaults()->group("Free memory");
    add(report, "--report", "POLICY",
        "off, or any of order=0..10|auto,batch=1..512,keep=SIZE,delay=MS,timeout=MS,"
        "strategy=batch|each|scan|decay|adaptive "
        "[order=9,batch=256,keep=0,delay=0,timeout=0,strategy=batch]");
    add(memory_price, "--memory-price", "TIME",
        "CPU time that 1 MiB for 1 s is worth, for net benefit [1ms]");
    add(prefault, "--prefault", "ORDER",
        "Have memory behind discarded blocks of at least this order (4..10) in one go when they "
        "are allocated [never]");
    add(host, "--host", "sync|async|poll",
        "Answer hints in the doorbell's exit, on threads, or on threads that watch [sync]");
    add(workers, "--workers", "N", "Threads of --host async and poll, 1 to 8 [1]");
    add(host_fault, "--host-fault", "FAULTS",
        "Misbehave: any of delay=MS,drop=R,duplicate=R,partial=R,decline=R,fail=R (rates 0..1),"
        "reorder,stall-after=N");
    add(control, "--control", "PATH", "Unix socket that takes commands while the guest runs");
    add(backing, "--backing", "KIND", "What backs RAM: thp, 4k, memfd, hugetlb [thp]");
    add(discard, "--discard", "HOW", "dontneed, free or none [dontneed]");
    add(transport, "--transport", "pio|ioeventfd|vmcall",
        "How the guest rings the host [sync: pio; async, poll: ioeventfd]");
    add(decline_below, "--decline-below", "ORDER", "Decline hints of smaller blocks [0]");
    check_hints = add_flag("--check-hints", "Debug: stop a guest that hints memory in use");
    oracle = add_flag("--oracle", "Debug: stop a guest that uses memory it has hinted");

    app_.option_defaults()->group("Output");
    add(stats, "--stats", "FILE", "Write statistics as JSON");
    add(trace, "--trace", "FILE", "Record a hypercall trace; read it with hvtrace");
    add(trace_level, "--trace-level", "LEVEL", "batches, ranges or all [ranges; --step: all]");
    add(trace_size, "--trace-size", "SIZE", "Keep the last records only, in a file of SIZE");
    step = add_flag("--step", "Stop at each hypercall and take commands; h explains them");
    quiet = add_flag("--quiet", "Neither live view nor summary");
    verbose = add_flag("--verbose", "Also say how the vmm is confined");
    add(live, "--live", "auto|on|off", "Live view of memory [auto]");
    add(sample_ms, "--sample-ms", "MS", "Period of the memory samples [20]");
    add(sandbox, "--sandbox", "on|off|trap",
        "Confine the vmm before the guest runs; trap names a forbidden system call [on]");
    add(kvm_device, "--kvm", "PATH", "The KVM device [/dev/kvm]");
    add(gdb, "--gdb", "PORT|unix:PATH", "Wait for gdb's `target remote` there");
    add(abi_version, "--abi", "1.0|1.1|1.2", "Behave as a host of that ABI version [1.2]");

    probe = add_flag("--probe", "Say what this host offers and what it costs, then exit");

    app_.footer("Exit status: the guest's own; 2 for a mistake in command line or files,\n"
                "3 when the guest crashed, 4 when the host lacks something.\n"
                "Example: vmm guest.bin --mem 2G --workload replay --speed real \\\n"
                "             --input sqlite.pgt.xz");
    app_.allow_extras();
  }

  Result<std::optional<ShowText>> parse(std::span<const char* const> argv) {
    try {
      app_.parse(static_cast<int>(argv.size()), argv.data());
      if (app_.remaining_size() > 0) {
        return user_error("{}", describe(CLI::ExtrasError(app_.remaining()), app_));
      }
    } catch (const CLI::CallForHelp&) {
      return ShowText{app_.help()};
    } catch (const CLI::CallForVersion& show) {
      return ShowText{fmt::format("{}\n", show.what())};
    } catch (const CLI::ParseError& error) {
      return user_error("{}", describe(error, app_));
    }
    for (const RawOption* raw : singles_) {
      if (raw->option->count() > 1) {
        return user_error("{}: given {} times; give it once", raw->option->get_name(),
                          raw->option->count());
      }
      if (raw->given() && raw->value.empty()) {
        return user_error("{}: the value is empty; see vmm --help", raw->option->get_name());
      }
    }
    if (image.empty() && probe->count() == 0) {
      return user_error("no guest image given; start as in: vmm guest.bin");
    }
    return std::nullopt;
  }

  std::string image;
  RawOption mem, cpus, workload, input, speed, seed, report, backing, discard, decline_below;
  RawOption host, workers, host_fault, control, transport, stats, live, sample_ms, kvm_device;
  RawOption memory_price, prefault, abi_version, trace, trace_level, trace_size, sandbox, gdb;
  std::vector<std::string> args;
  CLI::Option* list_workloads = nullptr;
  CLI::Option* probe = nullptr;
  CLI::Option* step = nullptr;
  CLI::Option* quiet = nullptr;
  CLI::Option* verbose = nullptr;
  CLI::Option* check_hints = nullptr;
  CLI::Option* oracle = nullptr;

 private:
  void add(RawOption& raw, const char* name, const char* type, const char* help) {
    // Every occurrence is kept by CLI11, so that parse() can name an option given twice.
    raw.option = app_.add_option(name, raw.value, help)
                     ->type_name(type)
                     ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    singles_.push_back(&raw);
  }

  CLI::Option* add_flag(const char* name, const std::string& help) {
    return app_.add_flag(name, help)->disable_flag_override();
  }

  CLI::App app_{"Boots a unikernel whose free memory goes back to the host.", "vmm"};
  std::vector<const RawOption*> singles_;
};

Result<void> take_host_options(const CommandLine& line, Config& config) {
  if (line.host.given()) {
    EBB_TRY_ASSIGN(mode, choose<HostMode>("--host", line.host.value, host_modes));
    config.host = mode;
  }
  if (line.workers.given()) {
    EBB_TRY_ASSIGN(workers, number_within("--workers", line.workers.value, 1, max_host_workers));
    if (config.host == HostMode::sync) {
      return user_error("--workers: a synchronous host has none; use --host async or --host poll");
    }
    config.workers = static_cast<std::uint32_t>(workers);
  }
  if (line.host_fault.given()) {
    EBB_TRY_ASSIGN(faults, parse_fault_options(line.host_fault.value));
    config.host_faults = faults;
  }
  if (line.control.given()) {
    config.control = line.control.value;
  }
  config.transport = config.host == HostMode::sync ? Transport::pio : Transport::ioeventfd;
  if (line.transport.given()) {
    EBB_TRY_ASSIGN(transport, choose<Transport>("--transport", line.transport.value, transports));
    if (transport == Transport::ioeventfd && config.host == HostMode::sync) {
      return user_error(
          "--transport ioeventfd: a synchronous host answers within the guest's exit; "
          "use --host async or poll");
    }
    config.transport = transport;
  }
  return {};
}

Result<ProbeHost> probe_request(const CommandLine& line) {
  if (!line.image.empty()) {
    return user_error("--probe: runs no guest; leave {:?} out", line.image);
  }
  ProbeHost request;
  if (line.kvm_device.given()) {
    request.kvm_device = line.kvm_device.value;
  }
  if (line.stats.given()) {
    request.stats = line.stats.value;
  }
  return request;
}

Result<void> take_trace(const CommandLine& line, Config& config) {
  config.step = line.step->count() > 0;
  if (config.step) {
    config.trace_level = abi::TraceLevel::all;
    if (line.trace_size.given()) {
      return user_error("--step: looks back over the whole trace; leave out --trace-size");
    }
  }
  if (line.trace.given()) {
    config.trace = line.trace.value;
  } else if (line.trace_size.given() || (line.trace_level.given() && !config.step)) {
    const RawOption& raw = line.trace_size.given() ? line.trace_size : line.trace_level;
    return user_error("{}: needs --trace FILE", raw.option->get_name());
  }
  if (line.trace_level.given()) {
    EBB_TRY_ASSIGN(level,
                   choose<abi::TraceLevel>("--trace-level", line.trace_level.value, trace_levels));
    config.trace_level = level;
  }
  if (line.trace_size.given()) {
    const auto bytes = parse_size(line.trace_size.value);
    if (!bytes || *bytes < min_trace_bytes || *bytes > max_trace_bytes) {
      return user_error("--trace-size {:?}: must be a size from {} to {}", line.trace_size.value,
                        exact_size(min_trace_bytes), exact_size(max_trace_bytes));
    }
    config.trace_bytes = *bytes;
  }
  return {};
}

Result<Config> build(CommandLine& line) {
  Config config;
  config.image = line.image;
  if (line.mem.given()) {
    EBB_TRY_ASSIGN(bytes, memory_size(line.mem.value));
    config.mem_bytes = bytes;
  }
  if (line.cpus.given()) {
    EBB_TRY_ASSIGN(cpus, number_within("--cpus", line.cpus.value, 1, max_cpus));
    config.cpus = static_cast<std::uint32_t>(cpus);
  }
  if (line.backing.given()) {
    EBB_TRY_ASSIGN(backing, choose<Backing>("--backing", line.backing.value, backings));
    config.backing = backing;
  }
  if (line.discard.given()) {
    EBB_TRY_ASSIGN(method, choose<DiscardMethod>("--discard", line.discard.value, discard_methods));
    config.discard = method;
  }
  const bool anonymous = config.backing == Backing::thp || config.backing == Backing::small_pages;
  if (config.discard == DiscardMethod::free_lazily && !anonymous) {
    return user_error("--discard free: works on anonymous memory only, not with --backing {}; use "
                      "--discard dontneed",
                      name_of(config.backing));
  }
  if (line.decline_below.given()) {
    EBB_TRY_ASSIGN(order,
                   number_within("--decline-below", line.decline_below.value, 0, abi::max_order));
    config.decline_below = abi::Order{static_cast<std::uint8_t>(order)};
  }
  if (line.report.given()) {
    EBB_TRY_ASSIGN(report, parse_report_settings("--report", line.report.value));
    config.report = report.policy;
    config.report_timeout_ns = report.timeout_ns;
    config.report_automatic = report.automatic;
  }
  if (config.report.keep_bytes > config.mem_bytes) {
    return user_error("--report keep {}: more than the guest's memory; must be at most {}",
                      exact_size(config.report.keep_bytes), exact_size(config.mem_bytes));
  }
  if (line.memory_price.given()) {
    const auto price = parse_duration_ns(line.memory_price.value);
    if (!price || *price == 0) {
      return user_error("--memory-price {:?}: not a time; write such as 1ms or 130us",
                        line.memory_price.value);
    }
    config.memory_price_ns = *price;
  }
  if (line.prefault.given()) {
    EBB_TRY_ASSIGN(order, number_within("--prefault", line.prefault.value, smallest_prefault_order,
                                        abi::max_order));
    config.prefault = abi::Order{static_cast<std::uint8_t>(order)};
  }
  EBB_TRY(take_host_options(line, config));
  if (line.workload.given()) {
    config.workload = line.workload.value;
  }
  if (line.input.given()) {
    config.input = line.input.value;
  }
  if (line.speed.given()) {
    EBB_TRY_ASSIGN(speed, choose<Speed>("--speed", line.speed.value, speeds));
    config.speed = speed;
  }
  if (line.seed.given()) {
    EBB_TRY_ASSIGN(seed, number_within("--seed", line.seed.value, 0,
                                       std::numeric_limits<std::uint64_t>::max()));
    config.seed = seed;
  }
  EBB_TRY_ASSIGN(guest_args, guest_arguments(std::move(line.args)));
  config.guest_args = std::move(guest_args);
  if (line.stats.given()) {
    config.stats = line.stats.value;
  }
  EBB_TRY(take_trace(line, config));
  if (line.quiet->count() > 0) {
    config.verbosity = Verbosity::quiet;
  }
  if (line.verbose->count() > 0) {
    if (line.quiet->count() > 0) {
      return user_error("--verbose: cannot be combined with --quiet");
    }
    config.verbosity = Verbosity::verbose;
  }
  if (line.sandbox.given()) {
    EBB_TRY_ASSIGN(sandbox, choose<SandboxMode>("--sandbox", line.sandbox.value, sandbox_modes));
    config.sandbox = sandbox;
  }
  if (line.check_hints->count() > 0) {
    config.check_hints = HintCheck::audit;
  }
  if (line.oracle->count() > 0) {
    config.oracle = OracleUse::on;
  }
  if (line.live.given()) {
    EBB_TRY_ASSIGN(live, choose<LiveMode>("--live", line.live.value, live_modes));
    config.live = live;
  }
  if (config.step) {
    config.live = LiveMode::off; // the stepper has the screen
  }
  if (line.abi_version.given()) {
    EBB_TRY_ASSIGN(minor, choose<std::uint16_t>("--abi", line.abi_version.value, abi_minors));
    config.abi_minor = minor;
  }
  if (config.report_automatic && config.report.strategy != abi::ReportStrategy::batch) {
    return user_error("--report order=auto: chooses the strategy itself; leave out strategy=");
  }
  if (config.abi_minor == 0 && config.transport == Transport::vmcall) {
    return user_error("--abi 1.0: such a host's doorbell was a port; leave out --transport vmcall");
  }
  if (config.abi_minor == 0 && (config.cpus > 1 || config.host != HostMode::sync)) {
    return user_error("--abi 1.0: such a host had one vCPU and was synchronous; leave out --cpus "
                      "and --host");
  }
  if (line.kvm_device.given()) {
    config.kvm_device = line.kvm_device.value;
  }
  if (line.gdb.given()) {
    if (config.step) {
      return user_error("--gdb: both it and --step stop the guest; leave out one of them");
    }
    EBB_TRY_ASSIGN(address, parse_gdb_address(line.gdb.value));
    config.gdb = std::move(address);
  }
  if (line.sample_ms.given()) {
    EBB_TRY_ASSIGN(period,
                   number_within("--sample-ms", line.sample_ms.value, 1, longest_sample_ms));
    config.sample_period = std::chrono::milliseconds(period);
  }
  if (line.list_workloads->count() > 0) {
    if (line.workload.given()) {
      return user_error("--list-workloads: cannot be combined with --workload");
    }
    config.workload = "list";
    config.verbosity = Verbosity::quiet;
  }
  const std::size_t args_bytes = encode_guest_args(config).size();
  if (args_bytes > abi::boot_args_bytes) {
    return user_error("--arg: all arguments of the guest take {} bytes; must be at most {}",
                      args_bytes, abi::boot_args_bytes);
  }
  return config;
}

} // namespace

Result<std::variant<Config, ShowText, ProbeHost>>
parse_command_line(std::span<const char* const> argv) {
  CommandLine line;
  EBB_TRY_ASSIGN(shown, line.parse(argv));
  if (shown) {
    return std::move(*shown);
  }
  if (line.probe->count() > 0) {
    return probe_request(line);
  }
  EBB_TRY_ASSIGN(config, build(line));
  return config;
}

std::string encode_guest_args(const Config& config) {
  std::string encoded;
  const auto append = [&encoded](std::string_view key_value) {
    encoded += key_value;
    encoded += '\0';
  };
  append(fmt::format("workload={}", config.workload));
  append(config.speed == Speed::real ? "speed=real" : "speed=max");
  for (const std::string& arg : config.guest_args) {
    append(arg);
  }
  return encoded;
}

} // namespace vmm
