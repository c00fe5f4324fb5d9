// SPDX-License-Identifier: MIT
// vmm: command line -> machine -> report -> exit status.
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "vmm/base/process_start.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/base/units.hpp"
#include "vmm/boot/image.hpp"
#include "vmm/boot/image_symbols.hpp"
#include "vmm/boot/own_image.hpp"
#include "vmm/boot/program_start.hpp"
#include "vmm/debug/core_file.hpp"
#include "vmm/io/file.hpp"
#include "vmm/io/output_file.hpp"
#include "vmm/io/patient_output.hpp"
#include "vmm/io/standard_error.hpp"
#include "vmm/io/standard_output.hpp"
#include "vmm/io/terminal.hpp"
#include "vmm/io/terminal_keeper.hpp"
#include "vmm/io/write_all.hpp"
#include "vmm/machine.hpp"
#include "vmm/memory/huge_pages.hpp"
#include "vmm/probe/probe.hpp"
#include "vmm/profile/place_names.hpp"
#include "vmm/profile/profile_text.hpp"
#include "vmm/profile/timed_profile.hpp"
#include "vmm/record/trace_target.hpp"
#include "vmm/repetition.hpp"
#include "vmm/report/live_view.hpp"
#include "vmm/report/repeated_runs.hpp"
#include "vmm/report/stats.hpp"
#include "vmm/report/summary.hpp"
#include "vmm/run_files.hpp"
#include "vmm/run_report.hpp"
#include "vmm/sandbox/sandbox.hpp"
#include "vmm/sandbox_request.hpp"
#include "vmm/settings/config.hpp"

namespace {

constexpr std::uint64_t max_config_bytes = std::uint64_t{1} << 20;

int exit_status_of(const vmm::Error& error) {
  return error.error_class == vmm::ErrorClass::user ? 2 : 4;
}

// The one line that says what was wrong.
int fail(const vmm::Error& error) {
  vmm::tell("vmm: {}\n", error.message);
  return exit_status_of(error);
}

// Where the vmm talks: a program's standard output is its own.
int talk_fd(const vmm::Config& config) {
  return config.runs_program() ? STDERR_FILENO : STDOUT_FILENO;
}

// The vmm's own environment.
std::span<const char* const> environment() {
  std::size_t count = 0;
  while (::environ[count] != nullptr) {
    ++count;
  }
  return {::environ, count};
}

// The vmm's own. Of one that has been removed what the link says: the guest says that it is not
// there.
std::string working_directory() {
  std::error_code nowhere;
  std::string directory = std::filesystem::current_path(nowhere).string();
  if (nowhere) {
    directory = std::filesystem::read_symlink("/proc/self/cwd", nowhere).string();
  }
  return nowhere ? "/" : directory;
}

vmm::Result<void> keep_files_apart(const vmm::Config& config) {
  std::optional<std::string> program;
  if (config.runs_program()) {
    program = vmm::program_file(config.program, environment(), working_directory());
  }
  return vmm::keep_files_apart(config, program);
}

// What is told to a guest that runs a program; empty: it runs a workload.
vmm::Result<std::vector<std::byte>> program_of(const vmm::Config& config,
                                               const vmm::Inheritance& inheritance) {
  if (!config.runs_program()) {
    return std::vector<std::byte>{};
  }
  std::uint64_t watched = 0;
  if (config.gdb) {
    watched |= abi::watched_by_debugger;
  }
  if (config.profile_hz != 0) {
    watched |= abi::watched_by_profile;
  }
  return vmm::program_start(config.program, environment(), working_directory(), inheritance,
                            watched, config.verbosity);
}

vmm::LiveStyle live_style(const vmm::Config& config) {
  if (config.verbosity == vmm::Verbosity::quiet || config.live == vmm::LiveMode::off ||
      (config.runs_program() && config.live == vmm::LiveMode::automatic)) {
    return vmm::LiveStyle::none;
  }
  const bool has_screen = ::isatty(talk_fd(config)) == 1 && vmm::terminal_obeys_escapes();
  return config.live == vmm::LiveMode::on || has_screen ? vmm::LiveStyle::chart
                                                        : vmm::LiveStyle::plain;
}

vmm::ChartBars chart_bars() {
  return vmm::text_may_be_utf8() ? vmm::ChartBars::blocks : vmm::ChartBars::ascii;
}

// Tells what of the results could not be written. That is a failure of the host, unless there is
// a worse one to tell.
int status_after(const vmm::RunStats& stats, std::span<const vmm::Result<void>> outputs,
                 int guest_status) {
  int status = guest_status;
  const auto failed = [&status](int with) { status = status == 0 ? with : status; };
  if (stats.trace) {
    for (const std::string& loss : vmm::trace_losses(*stats.trace)) {
      vmm::tell("vmm: --trace {}: {}\n", stats.trace->name, loss);
    }
    if (!stats.trace->records.why.empty()) {
      failed(exit_status_of({}));
    }
  }
  for (const vmm::Result<void>& output : outputs) {
    if (!output) {
      failed(fail(output.error()));
    }
  }
  return status;
}

// A guest that never got to its workload, or was asked for something that its workload cannot do,
// has told why, and has nothing to sum up.
bool has_summary(const vmm::Machine& machine, const vmm::GuestEnding& ending) {
  if (ending.kind == vmm::EndKind::interrupted) {
    return true;
  }
  const bool refused = ending.kind == vmm::EndKind::exited && ending.status == 2 &&
                       machine.watch().times().workload_end_ns == 0;
  return machine.watch().times().workload_begin_ns != 0 && !refused;
}

// What --profile has seen goes into its file; what of it a user is told of is returned.
vmm::Result<std::string> tell_profile(const vmm::Config& config, const vmm::Machine& machine,
                                      std::optional<vmm::OutputFile>& file) {
  if (machine.profile() == nullptr) {
    return std::string();
  }
  const auto counts = machine.profile()->counts();
  const vmm::FunctionNames names =
      vmm::place_names(machine.profile()->code(), machine.guest().symbols(),
                       config.profile_lines ? vmm::CodeLines::read : vmm::CodeLines::no);
  if (file && vmm::is_timed_profile(*config.profile_out)) {
    vmm::Result<void> written;
    vmm::write_timed_profile(machine.profile()->series(), machine.profile()->period_ns(), names,
                             [&](std::string_view text) {
                               if (written) {
                                 written = file->append(text);
                               }
                             });
    EBB_TRY(written);
    EBB_TRY(file->finish());
  } else if (file) {
    EBB_TRY(file->write(vmm::folded_stacks(counts, names)));
  }
  return vmm::profile_summary(vmm::profile_totals(counts, names), config.profile_hz);
}

// Once.
vmm::Result<std::uint64_t> write_core(std::optional<vmm::CoreFile>& file,
                                      const vmm::CoreFacts& facts, const vmm::GuestMachine& guest) {
  vmm::CoreFile once = std::move(*file);
  file.reset();
  return once.write(facts, guest.memory(), {guest.plan().input_gpa, guest.input_pages()});
}

std::string core_text(const vmm::Config& config, std::uint64_t bytes) {
  return fmt::format("--core {}: {} of memory\n", *config.core, vmm::human_size(bytes));
}

// As a debugger has stopped it; what it is told.
std::string leave_core(std::optional<vmm::CoreFile>& file, const vmm::Config& config,
                       vmm::CoreFacts facts, const vmm::GuestMachine& guest) {
  if (!file) {
    return fmt::format("--core {}: is there already; another needs another run\n", *config.core);
  }
  facts.program = config.image;
  const auto written = write_core(file, facts, guest);
  return written ? core_text(config, *written) : written.error().message + "\n";
}

// What is left of a guest that crashed or panicked, unless a debugger has taken the file.
vmm::Result<void> write_core_at_end(std::optional<vmm::CoreFile>& file, const vmm::Config& config,
                                    const vmm::GuestMachine& guest,
                                    const vmm::GuestEnding& ending) {
  if (!file || (ending.kind != vmm::EndKind::crashed && ending.kind != vmm::EndKind::panicked)) {
    return {};
  }
  EBB_TRY_ASSIGN(
      bytes,
      write_core(file, vmm::core_facts(config.image, guest.memory(), guest.vcpus(), ending.vcpu),
                 guest));
  if (config.verbosity != vmm::Verbosity::quiet) {
    vmm::tell("vmm: {}", core_text(config, bytes));
  }
  return {};
}

// `results`: of --repeat, where what there is to tell goes instead of to a user.
vmm::Result<int> run(const vmm::Config& config, const vmm::Inheritance& inheritance,
                     vmm::UniqueFd results = {}) {
  // Whatever can be refused is refused before anything runs.
  EBB_TRY(keep_files_apart(config));
  vmm::RunFiles files;
  if (!results.valid()) {
    EBB_TRY(vmm::open_output("--stats", config.stats, files.stats));
  }
  EBB_TRY(vmm::open_output("--profile-out", config.profile_out, files.profile));
  std::optional<vmm::TraceTarget> trace_target;
  if (config.trace) {
    EBB_TRY_ASSIGN(target, vmm::TraceTarget::open(*config.trace));
    trace_target.emplace(std::move(target));
    if (config.trace_start == vmm::TraceStart::off) {
      EBB_TRY(trace_target->publish()); // links can be made now only
    }
  }
  if (config.core) {
    EBB_TRY_ASSIGN(opened, vmm::CoreFile::open(*config.core));
    files.core.emplace(std::move(opened));
  }
  EBB_TRY_ASSIGN(image, vmm::load_image(config.image));
  std::optional<vmm::Recording> input;
  if (config.input) {
    EBB_TRY_ASSIGN(trace, vmm::Recording::load(*config.input));
    input = std::move(trace);
  }
  EBB_TRY_ASSIGN(program, program_of(config, inheritance));
  EBB_TRY_ASSIGN(sandbox, vmm::Sandbox::create(vmm::sandbox_request(config, files)));
  if (config.verbosity == vmm::Verbosity::verbose) {
    vmm::tell("vmm: {}\n", sandbox->describe());
  }
  std::optional<vmm::TerminalKeeper> terminal;
  if (config.runs_program()) {
    terminal.emplace();
    vmm::BlockedSignals::before_hurried_end(vmm::TerminalKeeper::put_back);
  }
  // Before anything starts a thread. The stepper looks after the terminal itself.
  EBB_TRY_ASSIGN(signals, vmm::BlockedSignals::create(
                              config.step             ? vmm::BlockedSignals::Terminal::left_alone
                              : config.runs_program() ? vmm::BlockedSignals::Terminal::programs
                                                      : vmm::BlockedSignals::Terminal::watched));
  EBB_TRY_ASSIGN(output, vmm::PatientOutput::create(talk_fd(config), signals.late_fd()));
  const auto print = [&output](std::string_view text) { output.write(text); };
  vmm::LiveView live({.style = live_style(config), .bars = chart_bars()}, print,
                     [&config] { return vmm::terminal_width(talk_fd(config)); });
  // For backtraces; without any there are addresses.
  const std::uint64_t hash = vmm::image_hash(image.bytes);
  vmm::Symbols symbols = vmm::symbols_of_image(config.image, hash).value_or(vmm::Symbols{});
  std::function<std::string(vmm::CoreFacts, const vmm::GuestMachine&)> leaves_core;
  if (files.core) {
    leaves_core = [&](vmm::CoreFacts facts, const vmm::GuestMachine& guest) {
      return leave_core(files.core, config, std::move(facts), guest);
    };
  }
  EBB_TRY_ASSIGN(
      machine,
      vmm::Machine::create(
          config,
          {.image = std::move(image),
           .symbols = std::move(symbols),
           .input = std::move(input),
           .program = std::move(program)},
          std::move(trace_target),
          {.console = [&](std::string_view text) { live.print_above(text); },
           .observer = [&](const vmm::MemorySample& sample) { live.update(sample); },
           .stats =
               [&config](const vmm::Machine& running) { return vmm::stats_now(config, running); },
           .core = std::move(leaves_core),
           .interrupted = [&] { output.hurry(); },
           .terminal =
               [&](int signal) {
                 live.redraw(signal == SIGCONT ? vmm::ChartPlace::lost : vmm::ChartPlace::known);
               }}));
  if (const auto address = machine->gdb_address()) {
    vmm::tell("vmm: the guest waits for gdb: target remote {}\n", *address);
  }
  if (const std::string& why = machine->why_no_pressure(); !why.empty()) {
    vmm::tell("vmm: --pressure: {}\n", why);
  }
  for (const std::string& chosen : machine->chosen_ports()) {
    vmm::tell("vmm: {}\n", chosen);
  }
  const vmm::GuestEnding ending = machine->run(signals, *sandbox);
  terminal.reset();
  const vmm::RunStats stats = vmm::make_stats(config, *machine, ending);
  // Results first: whatever becomes of the talk, they are there.
  const vmm::Result<void> stats_written =
      results.valid() ? vmm::hand_over(vmm::RepeatedRun::of(stats), results)
      : files.stats   ? files.stats->write(vmm::to_text(vmm::to_json(stats)))
                      : vmm::Result<void>{};
  const vmm::Result<std::string> profile = tell_profile(config, *machine, files.profile);
  live.finish();
  const bool is_quiet = config.verbosity == vmm::Verbosity::quiet;
  // Who has sent a signal knows that, and may want nothing but the program's output. SIGKILL, which
  // nobody can take, is gdb's.
  const bool is_known = ending.kind == vmm::EndKind::interrupted && ending.status != SIGKILL;
  if (!ending.text.empty() && !(is_quiet && is_known)) {
    vmm::tell("vmm: {}\n", ending.text);
  }
  const vmm::Result<void> core_written =
      write_core_at_end(files.core, config, machine->guest(), ending);
  if (config.verbosity == vmm::Verbosity::verbose && stats.program) {
    for (const std::string& line : vmm::missing_calls_text(*stats.program)) {
      vmm::tell("vmm: {}\n", line);
    }
  }
  if (!is_quiet && has_summary(*machine, ending)) {
    print(vmm::render_summary(stats) + profile.value_or(""));
  }
  const std::array outputs{stats_written, core_written,
                           profile ? vmm::Result<void>{} : std::unexpected(profile.error()),
                           machine->metrics_result(), vmm::standard_output_result(output.error())};
  return status_after(stats, outputs, ending.process_status());
}

// Runs of --repeat, and what they come to.
vmm::Result<int> run_repeatedly(const vmm::Config& config, const vmm::Inheritance& inheritance) {
  EBB_TRY(keep_files_apart(config));
  std::optional<vmm::OutputFile> stats_file;
  EBB_TRY(vmm::open_output("--stats", config.stats, stats_file));
  vmm::Config single = config;
  single.verbosity = vmm::Verbosity::quiet;
  const std::size_t all = std::size_t{config.warm_up} + config.repeat;
  EBB_TRY_ASSIGN(repetition, vmm::repeat(all, [&](vmm::UniqueFd results) {
                   const auto status = run(single, inheritance, std::move(results));
                   return status ? *status : fail(status.error());
                 }));
  int status = repetition.exit_status;
  if (repetition.exit_status != 0 && !repetition.runs.empty()) {
    vmm::tell("vmm: --repeat: run {} of {} ended with status {}, and was the last\n",
              repetition.runs.size() + 1, all, repetition.exit_status);
  }
  const auto runs = vmm::RepeatedRuns::of(repetition.runs, config.warm_up);
  if (runs.counted.empty()) {
    return status;
  }
  if (stats_file) {
    if (const auto written = stats_file->write(vmm::repeated_runs_text(runs)); !written) {
      const int failed = fail(written.error());
      status = status == 0 ? failed : status;
    }
  }
  if (config.verbosity != vmm::Verbosity::quiet) {
    if (const int error =
            vmm::write_all(talk_fd(config), vmm::render_repeated_runs(config.name_of_run(), runs));
        error != 0 && error != EPIPE) {
      const int failed = fail({vmm::ErrorClass::environment,
                               "standard output: cannot be written: " + vmm::errno_text(error)});
      status = status == 0 ? failed : status;
    }
  }
  return status;
}

vmm::Result<void> probe(const vmm::ProbeHost& request) {
  const vmm::HostReport report = vmm::probe_host(request.kvm_device);
  EBB_TRY(vmm::write_standard_output(vmm::render(report)));
  return request.stats ? vmm::write_report(report, *request.stats) : vmm::Result<void>{};
}

// The file of --config.
vmm::Result<std::string> config_text(const std::string& path) {
  EBB_TRY_ASSIGN(bytes, vmm::read_file(path, max_config_bytes));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

vmm::Result<int> start(std::span<const char* const> argv, const vmm::Inheritance& inheritance) {
  EBB_TRY_ASSIGN(parsed, vmm::parse_command_line(argv, config_text));
  if (const auto* const text = std::get_if<vmm::ShowText>(&parsed)) {
    EBB_TRY(vmm::write_standard_output(text->text));
    return 0;
  }
  if (const auto* const request = std::get_if<vmm::ProbeHost>(&parsed)) {
    EBB_TRY(probe(*request));
    return 0;
  }
  auto& config = std::get<vmm::Config>(parsed);
  EBB_TRY_ASSIGN(image, vmm::find_image(config.image, vmm::own_folder()));
  config.image = std::move(image);
  if (const vmm::Backing here = vmm::backing_here(config.backing); here != config.backing) {
    config.backing = here;
    vmm::tell("vmm: this kernel has no transparent huge pages; guest memory is in pages of "
              "4 KiB (--backing 4k)\n");
  }
  return config.repeat > 1 ? run_repeatedly(config, inheritance) : run(config, inheritance);
}

} // namespace

int main(int argc, char** argv) {
  const auto inheritance = vmm::Inheritance::of_process();
  vmm::occupy_standard_descriptors();
  vmm::survive_file_limit();
  vmm::survive_lost_reader();
  vmm::set_thread_stacks();
  vmm::use_one_arena();
  vmm::explain_uncaught_exceptions();
  try {
    const auto status =
        start(std::span<const char* const>(argv, static_cast<std::size_t>(argc)), inheritance);
    return status ? *status : fail(status.error());
  } catch (const std::exception& error) {
    // What the C++ library throws where the host has no memory or no thread left.
    return fail({vmm::ErrorClass::environment, std::string(vmm::explain(error))});
  }
}
