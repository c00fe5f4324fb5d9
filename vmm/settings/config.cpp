// SPDX-License-Identifier: MIT
#include "vmm/settings/config.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/settings/command_line.hpp"
#include "vmm/settings/guest_arguments.hpp"
#include "vmm/settings/options.hpp"

namespace vmm {
namespace {

// What a program's memory costs is what it touches; its addresses are what it may want many of.
constexpr std::uint64_t program_default_bytes = 4 * gib;

constexpr const char* help_footer =
    "Exit status: the guest's own; 2 for a mistake in command line or files,\n"
    "3 when the guest crashed, 4 when the host lacks something.\n"
    "Example: vmm --mem 2G --workload replay --speed real --input sqlite.pgt.xz\n"
    "         vmm -- /usr/bin/sqlite3 :memory: 'select 1'";

// What was given, by an option's name.
class Given {
 public:
  explicit Given(const SplitLine& line) : line_(line) {}

  [[nodiscard]] const std::vector<std::string>& values(std::string_view name) const {
    const auto rows = option_rows();
    const auto row = std::ranges::find(
        rows, name, [](const OptionRow& each) { return std::string_view(each.shape.name); });
    assert(row != rows.end());
    return line_.values[static_cast<std::size_t>(row - rows.begin())];
  }

  [[nodiscard]] bool operator()(std::string_view name) const { return !values(name).empty(); }

 private:
  const SplitLine& line_;
};

// What rules out each other, and what follows from several options: a rule for each concern.

Result<void> settle_host(const Given& given, Config& config) {
  const bool synchronous = config.host == HostMode::sync;
  if (given("--workers") && synchronous) {
    return user_error("--workers: a synchronous host has none; use --host async or --host poll");
  }
  if (!given("--transport")) {
    config.transport = synchronous ? Transport::pio : Transport::ioeventfd;
  } else if (config.transport == Transport::ioeventfd && synchronous) {
    return user_error("--transport ioeventfd: a synchronous host answers within the guest's exit; "
                      "use --host async or poll");
  }
  if (config.abi_minor == 0 && config.transport == Transport::vmcall) {
    return user_error("--abi 1.0: such a host's doorbell was a port; leave out --transport vmcall");
  }
  if (config.abi_minor == 0 && (config.cpus > 1 || !synchronous)) {
    return user_error("--abi 1.0: such a host had one vCPU and was synchronous; leave out --cpus "
                      "and --host");
  }
  return {};
}

Result<void> settle_memory(const Config& config) {
  const bool anonymous = config.backing == Backing::thp || config.backing == Backing::small_pages;
  if (config.discard == DiscardMethod::free_lazily && !anonymous) {
    return user_error("--discard free: works on anonymous memory only, not with --backing {}; use "
                      "--discard dontneed",
                      name_of(config.backing));
  }
  if (config.report.keep_bytes > config.mem_bytes) {
    return user_error("--report keep {}: more than the guest's memory; must be at most {}",
                      exact_size(config.report.keep_bytes), exact_size(config.mem_bytes));
  }
  if (config.report_automatic && config.report.strategy != abi::ReportStrategy::batch) {
    return user_error("--report order=auto: chooses the strategy itself; leave out strategy=");
  }
  return {};
}

Result<void> settle_trace(const Given& given, Config& config) {
  if (config.step && given("--trace-size")) {
    return user_error("--step: looks back over the whole trace; leave out --trace-size");
  }
  const bool somebody_asks = config.control || config.gdb;
  if (config.trace_start == TraceStart::off && (!config.trace || !somebody_asks || config.step)) {
    return user_error(
        "--trace-start off: needs --trace FILE, and --control or --gdb to start it by{}",
        config.step ? "; leave out --step" : "");
  }
  if (!config.trace && !config.control &&
      (given("--trace-size") || (given("--trace-level") && !config.step))) {
    return user_error("{}: needs --trace FILE, or --control PATH to start one by",
                      given("--trace-size") ? "--trace-size" : "--trace-level");
  }
  config.guest_is_traced =
      config.trace || config.step || (config.control && given("--trace-level"));
  if (config.step) {
    if (!given("--trace-level")) {
      config.trace_level = abi::TraceLevel::all;
    }
    config.live = LiveMode::off; // the stepper has the screen
  }
  if (config.step && config.gdb) {
    return user_error("--gdb: both it and --step stop the guest; leave out one of them");
  }
  return {};
}

Result<void> settle_profile(const Given& given, const Config& config) {
  if (config.profile_out && config.profile_hz == 0) {
    return user_error("--profile-out: needs --profile HZ, such as --profile 99");
  }
  if (config.profile_lines && config.profile_hz == 0) {
    return user_error("--profile-lines: needs --profile HZ, such as --profile 99");
  }
  for (const char* const option : {"--step", "--gdb"}) {
    if (config.profile_hz != 0 && given(option)) {
      return user_error("--profile: is of a guest that runs freely; leave out {}", option);
    }
  }
  if (config.profile_hz != 0 && !config.profile_out && config.verbosity == Verbosity::quiet) {
    return user_error("--profile: with --quiet it tells nobody; add --profile-out FILE");
  }
  return {};
}

Result<void> settle_output(const Given& given, Config& config) {
  if (config.repeat > 1) {
    for (const char* const option : {"--trace", "--step", "--gdb", "--profile"}) {
      if (given(option)) {
        return user_error("{}: looks at one run; leave out --repeat", option);
      }
    }
  }
  if (given("--warm-up") && config.repeat < 2) {
    return user_error("--warm-up: needs --repeat N, of 2 or more");
  }
  const bool in_file = config.metrics && config.metrics->form != MetricsForm::socket;
  if (given("--metrics-ms") && !in_file) {
    return user_error("--metrics-ms: needs --metrics FILE");
  }
  if (given("--quiet") && given("--verbose")) {
    return user_error("--verbose: cannot be combined with --quiet");
  }
  for (const auto& [option, lister] :
       {std::pair("--list-workloads", "list"), std::pair("--list-syscalls", "syscalls")}) {
    if (!given(option)) {
      continue;
    }
    if (given("--workload")) {
      return user_error("{}: cannot be combined with --workload", option);
    }
    config.workload = lister;
    config.verbosity = Verbosity::quiet;
  }
  return {};
}

// `arguments` is what stands behind the `--`; empty when there is none.
Result<void> settle_program(const Given& given, const std::vector<std::string>& arguments,
                            Config& config) {
  if (arguments.empty()) {
    for (const char* const option : {"--bind", "--root", "--env", "--clear-env", "--cwd", "--argv0",
                                     "--user", "--listen", "--connect"}) {
      if (given(option)) {
        return user_error("{}: is for a program; give one behind the options: -- PROGRAM", option);
      }
    }
    return {};
  }
  for (const char* const option :
       {"--workload", "--list-workloads", "--list-syscalls", "--input", "--speed", "--arg"}) {
    if (given(option)) {
      return user_error("{}: a guest runs a program or a workload, not both", option);
    }
  }
  if (config.abi_minor < 2) {
    return user_error("--abi 1.{}: such a host runs no programs", config.abi_minor);
  }
  if (config.step) {
    return user_error("--step: takes its commands from standard input, which is the program's; "
                      "use --trace and hvtrace step");
  }
  const std::vector<ProgramMount>& binds = config.program.binds;
  for (auto bind = binds.begin(); bind != binds.end(); ++bind) {
    if (std::any_of(binds.begin(), bind,
                    [&](const ProgramMount& earlier) { return earlier.guest == bind->guest; })) {
      return user_error("--bind {}: two folders cannot be at one place; leave out one of them",
                        bind->guest);
    }
  }
  EBB_TRY(check_network(config.network));
  config.program.arguments = arguments;
  if (!given("--mem")) {
    config.mem_bytes = program_default_bytes;
  }
  return {};
}

Result<ProbeHost> probe_request(const SplitLine& line, const Given& given) {
  if (!line.image.empty()) {
    return user_error("--probe: runs no guest; leave {:?} out", line.image);
  }
  ProbeHost request;
  if (given("--kvm")) {
    request.kvm_device = given.values("--kvm").front();
  }
  if (given("--stats")) {
    request.stats = given.values("--stats").front();
  }
  return request;
}

// What is asked for, and which options of it are from the file.
struct MergedRequest {
  RunRequest request;
  std::optional<std::string> file;
  std::vector<bool> from_file; // for each option
};

// What the command line leaves open is the file's to say.
Result<MergedRequest> merge_file(RunRequest given, std::span<const OptionShape> shapes,
                                 const FileReader& read) {
  MergedRequest merged{std::move(given), std::nullopt, std::vector<bool>(shapes.size())};
  const Given options(merged.request.line);
  if (!options("--config")) {
    return merged;
  }
  const std::string path = options.values("--config").front();
  EBB_TRY_ASSIGN(text, read(path));
  EBB_TRY_ASSIGN(file, parse_config_file(text, path, shapes));
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    std::vector<std::string>& values = merged.request.line.values[i];
    if (values.empty() && !file.line.values[i].empty()) {
      values = std::move(file.line.values[i]);
      merged.from_file[i] = true;
    }
  }
  if (merged.request.line.image.empty()) {
    merged.request.line.image = std::move(file.line.image);
  }
  if (merged.request.program.empty()) {
    merged.request.program = std::move(file.program);
  }
  merged.file = path;
  return merged;
}

Result<Config> configured(const MergedRequest& merged, const Given& given) {
  const SplitLine& line = merged.request.line;
  Config config;
  config.image = line.image;
  for (std::size_t i = 0; i < line.values.size(); ++i) {
    const OptionRow& row = option_rows()[i];
    for (const std::string& value : line.values[i]) {
      const Result<void> taken = row.take(row.shape.name, value, config);
      if (!taken && merged.from_file[i]) {
        return user_error("{}: {}", *merged.file, taken.error().message);
      }
      EBB_TRY(taken);
    }
  }
  EBB_TRY(settle_host(given, config));
  EBB_TRY(settle_memory(config));
  EBB_TRY(settle_trace(given, config));
  EBB_TRY(settle_profile(given, config));
  EBB_TRY(settle_program(given, merged.request.program, config));
  EBB_TRY(settle_output(given, config));
  const std::size_t args_bytes = encode_guest_args(config).size();
  if (args_bytes > abi::boot_args_bytes) {
    return user_error("--arg: all arguments of the guest take {} bytes; must be at most {}",
                      args_bytes, abi::boot_args_bytes);
  }
  return config;
}

} // namespace

Result<std::variant<Config, ShowText, ProbeHost>>
parse_command_line(std::span<const char* const> argv, const FileReader& read) {
  std::vector<OptionShape> shapes;
  std::ranges::transform(option_rows(), std::back_inserter(shapes), &OptionRow::shape);
  // The first `--` starts the program.
  const auto mark = std::ranges::find(argv.subspan(1), "--",
                                      [](const char* text) { return std::string_view(text); });
  const auto options = static_cast<std::size_t>(mark - argv.begin());
  const auto program = argv.subspan(std::min(argv.size(), options + 1));
  EBB_TRY_ASSIGN(split, split_command_line(argv.first(options), shapes, help_footer));
  if (auto* const shown = std::get_if<ShowText>(&split)) {
    return std::move(*shown);
  }
  if (options < argv.size() && program.empty()) {
    return user_error("--: no program stands behind it; -- PROGRAM, or leave it out");
  }
  EBB_TRY_ASSIGN(
      merged, merge_file({std::get<SplitLine>(std::move(split)), {program.begin(), program.end()}},
                         shapes, read));
  const SplitLine& line = merged.request.line;
  const Given given(line);
  if (given("--probe")) {
    return probe_request(line, given);
  }
  if (given("--print-config")) {
    EBB_TRY(configured(merged, given));
    EBB_TRY_ASSIGN(text, render_config_file(merged.request, shapes));
    return ShowText{std::move(text)};
  }
  // An image of one's own may know what to do; ours has to be told.
  if (line.image.empty() && merged.request.program.empty() && !given("--workload") &&
      !given("--list-workloads") && !given("--list-syscalls")) {
    return user_error("nothing to run; give a guest image, --workload NAME or -- PROGRAM");
  }
  EBB_TRY_ASSIGN(config, configured(merged, given));
  return config;
}

} // namespace vmm
