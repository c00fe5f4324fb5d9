// SPDX-License-Identifier: MIT
// hvtrace: reads what `vmm --trace FILE` recorded. Exit status: 0; 1 when check or diff found
// something; 2 for a mistake in the command line, an unreadable trace, or an output that cannot be
// written.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/columns.hpp"
#include "tools/hvtrace/diff.hpp"
#include "tools/hvtrace/export.hpp"
#include "tools/hvtrace/info.hpp"
#include "tools/hvtrace/list.hpp"
#include "tools/hvtrace/profile_file.hpp"
#include "tools/hvtrace/replay.hpp"
#include "tools/hvtrace/session.hpp"
#include "tools/hvtrace/stats.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "tools/hvtrace/trace_series.hpp"
#include "vmm/base/process_start.hpp"
#include "vmm/base/units.hpp"
#include "vmm/base/version.hpp"
#include "vmm/boot/image_symbols.hpp"
#include "vmm/io/output_file.hpp"
#include "vmm/io/shared_files.hpp"
#include "vmm/io/standard_error.hpp"
#include "vmm/io/standard_output.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/why.hpp"

namespace {

using hvtrace::TraceFile;
using hvtrace::TraceSeries;
using vmm::Result;

// More of anything nobody reads.
constexpr std::size_t most_told = 1'000'000'000;

struct Options {
  std::string trace, other, elf, filter, address, topic, profile, format = "perfetto";
  std::vector<std::string> next;     // traces that it was rotated into
  std::optional<std::string> output; // of export; empty: standard output
  std::size_t top = 10;
  std::size_t limit = 100;
  hvtrace::ReplayOptions replay;

  [[nodiscard]] std::vector<std::string> parts() const {
    std::vector<std::string> paths{trace};
    paths.insert(paths.end(), next.begin(), next.end());
    return paths;
  }
};

// Standard output, in large pieces; that a piece could not be written is told at the end.
class Talk {
 public:
  void write(std::string_view text) {
    if (error_ == 0 && std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      error_ = errno;
    }
  }
  [[nodiscard]] Result<void> finish() {
    if (std::fflush(stdout) != 0 && error_ == 0) {
      error_ = errno;
    }
    return vmm::standard_output_result(error_);
  }

 private:
  int error_ = 0; // the first, an errno
};

// Does `work` with a trace in one file or several, which others may cut meanwhile.
Result<int> with_trace(const std::vector<std::string>& parts,
                       const std::function<Result<int>(const TraceSeries&)>& work) {
  EBB_TRY_ASSIGN(series, TraceSeries::open(parts));
  EBB_TRY_ASSIGN(status, work(series));
  if (const std::string torn = series.torn(); !torn.empty()) {
    return vmm::user_error("{}: was made shorter while it was read", torn);
  }
  return status;
}

// Of --elf, which must be right; else of the image where it was when the trace was recorded. That
// it is not there any more, or was built anew, is told, and addresses stay numbers.
Result<vmm::Symbols> symbols_for(const std::string& elf, const hvtrace::TraceSource& trace) {
  const abi::TraceHeader& header = trace.header();
  if (!elf.empty()) {
    return vmm::load_symbols(elf, header.image_hash);
  }
  if (header.image[0] == '\0') {
    return vmm::Symbols();
  }
  auto symbols = vmm::symbols_of_image(header.image, header.image_hash);
  if (!symbols) {
    vmm::tell("hvtrace: code addresses have no names: {}; --elf FILE gives them\n",
              symbols.error().message);
    return vmm::Symbols();
  }
  return symbols;
}

Result<std::uint64_t> parse_address(std::string_view text) {
  if (const auto value = vmm::parse_number_or_hex(text)) {
    return *value;
  }
  return vmm::user_error("{:?}: not a guest-physical address; write such as 0x4a3000", text);
}

Result<int> run_info(const Options& options, Talk& talk) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  const std::string text = hvtrace::render_info(trace);
  if (trace.torn()) {
    return vmm::user_error("{}: was made shorter while it was read", options.trace);
  }
  talk.write(text);
  return 0;
}

Result<int> run_list(const Options& options, Talk& talk) {
  return with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
    std::optional<hvtrace::Filter> filter;
    if (!options.filter.empty()) {
      EBB_TRY_ASSIGN(parsed, hvtrace::Filter::parse(options.filter));
      filter = std::move(parsed);
    }
    EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
    hvtrace::list(trace, filter, symbols, [&talk](std::string_view text) { talk.write(text); });
    return 0;
  });
}

Result<int> run_stats(const Options& options, Talk& talk) {
  return with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
    EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
    talk.write(hvtrace::render_stats(trace, hvtrace::total(trace), symbols, options.top));
    return 0;
  });
}

Result<int> run_check(const Options& options, Talk& talk) {
  hvtrace::CheckResult result;
  EBB_TRY(with_trace(options.parts(), [&result](const TraceSeries& trace) {
    result = hvtrace::check(trace);
    return 0;
  }));
  talk.write(hvtrace::render_check(result));
  return result.violation_count == 0 ? 0 : 1;
}

Result<int> run_why(const Options& options, Talk& talk) {
  return with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
    EBB_TRY_ASSIGN(gpa, parse_address(options.address));
    EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
    talk.write(hvtrace::why(trace, gpa, symbols, options.limit));
    return 0;
  });
}

Result<int> diff_with(const Options& options, const TraceSeries& left, const TraceSeries& right,
                      Talk& talk) {
  EBB_TRY_ASSIGN(left_symbols, symbols_for(options.elf, left));
  // Two builds have two tables; --elf is then that of the first.
  const bool same_image = left.header().image_hash == right.header().image_hash;
  EBB_TRY_ASSIGN(right_symbols, symbols_for(same_image ? options.elf : std::string(), right));
  const hvtrace::DiffResult result = hvtrace::diff(left, left_symbols, right, right_symbols);
  talk.write(result.text);
  return result.same ? 0 : 1;
}

Result<int> run_diff(const Options& options, Talk& talk) {
  return with_trace({options.trace}, [&](const TraceSeries& left) {
    return with_trace({options.other}, [&](const TraceSeries& right) {
      return diff_with(options, left, right, talk);
    });
  });
}

Result<int> run_step(const Options& options, Talk& /*talk*/) {
  return with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
    EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
    return hvtrace::run_session(trace, symbols);
  });
}

Result<int> run_replay(const Options& options, Talk& talk) {
  return with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
    EBB_TRY_ASSIGN(result, hvtrace::replay(trace, options.replay));
    talk.write(hvtrace::render_replay(result));
    return 0;
  });
}

void export_as(const std::string& format, const TraceSeries& trace,
               const hvtrace::ProfileSamples& samples, const hvtrace::ByteSink& sink) {
  if (format == "perfetto") {
    hvtrace::export_perfetto(trace, samples, sink);
  } else if (format == "chrome") {
    hvtrace::export_chrome(trace, samples, sink);
  } else {
    hvtrace::export_csv(trace, sink);
  }
}

void tell_of_cut(const TraceSeries& trace) {
  if (trace.cut_off() != 0) {
    fmt::print(stderr,
               "hvtrace: {} records are cut off the trace's end; what is left is exported\n",
               trace.cut_off());
  }
}

// Those of --profile, which are to be of the same run: within the time that the trace is of.
Result<hvtrace::ProfileSamples> samples_beside(const Options& options, const TraceSeries& trace) {
  if (options.profile.empty()) {
    return hvtrace::ProfileSamples{};
  }
  EBB_TRY_ASSIGN(samples, hvtrace::read_profile(options.profile));
  const std::uint64_t start_ns = trace.header().start_ns;
  const auto last = trace.end() > trace.first() ? trace.at(trace.end() - 1) : std::nullopt;
  const std::uint64_t end_ns = start_ns + (last ? last->time_ns : 0);
  const bool is_beside = std::ranges::any_of(samples.vcpus, [&](const auto& vcpu) {
    return !vcpu.empty() && vcpu.back().time_ns >= start_ns && vcpu.front().time_ns <= end_ns;
  });
  const bool is_empty =
      std::ranges::all_of(samples.vcpus, [](const auto& vcpu) { return vcpu.empty(); });
  if (!is_beside && !is_empty) {
    return vmm::user_error("{}: of another time than the trace", options.profile);
  }
  return samples;
}

Result<int> run_export(const Options& options, Talk& talk) {
  if (!options.profile.empty() && options.format == "csv") {
    return vmm::user_error("--profile: csv has no place for samples; leave out one of them");
  }
  if (!options.output) {
    return with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
      EBB_TRY_ASSIGN(samples, samples_beside(options, trace));
      tell_of_cut(trace);
      export_as(options.format, trace, samples,
                [&talk](std::string_view text) { talk.write(text); });
      return 0;
    });
  }
  using Use = vmm::NamedFile::Use;
  std::vector<vmm::NamedFile> files{{"--output", *options.output, Use::written}};
  for (const std::string& part : options.parts()) {
    files.push_back({"the trace", part, Use::read});
  }
  if (!options.profile.empty()) {
    files.push_back({"--profile", options.profile, Use::read});
  }
  EBB_TRY(vmm::refuse_shared_files(files));
  std::optional<vmm::OutputFile> output;
  EBB_TRY_ASSIGN(status, with_trace(options.parts(), [&](const TraceSeries& trace) -> Result<int> {
                   EBB_TRY_ASSIGN(samples, samples_beside(options, trace));
                   EBB_TRY_ASSIGN(opened, vmm::OutputFile::open("--output", *options.output));
                   output.emplace(std::move(opened));
                   tell_of_cut(trace);
                   Result<void> written;
                   export_as(options.format, trace, samples, [&](std::string_view text) {
                     if (written) {
                       written = output->append(text);
                     }
                   });
                   EBB_TRY(written);
                   return 0;
                 }));
  EBB_TRY(output->finish()); // not of a trace that was cut meanwhile
  return status;
}

Result<int> run_help(const Options& /*options*/, Talk& talk) {
  talk.write(hvtrace::explain_columns());
  return 0;
}

using Command = Result<int> (*)(const Options&, Talk&);

CLI::App* add(CLI::App& app, const char* name, const char* help, Options& options) {
  CLI::App* const command = app.add_subcommand(name, help);
  command->add_option("TRACE", options.trace, "File written by vmm --trace")
      ->required()
      ->type_name("FILE");
  return command;
}

// Behind all other positionals.
void add_next(CLI::App* command, Options& options) {
  command->add_option("NEXT", options.next, "Traces that it was rotated into, one after the other")
      ->type_name("FILE");
}

void add_elf(CLI::App* command, Options& options) {
  command->add_option("--elf", options.elf, "The image's ELF file [where it was when recorded]")
      ->type_name("FILE");
}

int fail(std::string_view message) {
  vmm::tell("hvtrace: {}\n", message);
  return 2;
}

} // namespace

int main(int argc, char** argv) {
  vmm::occupy_standard_descriptors();
  vmm::survive_file_limit();
  vmm::explain_uncaught_exceptions();
  Options options;
  CLI::App app{"Reads hypercall traces.", "hvtrace"};
  app.require_subcommand(1);
  app.set_version_flag("--version",
                       fmt::format("hvtrace {} (traces {}.{})", vmm::version,
                                   abi::trace_version_major, abi::trace_version_minor));
  std::map<CLI::App*, Command> commands;

  commands[add(app, "info", "What was recorded, and of which run", options)] = run_info;
  CLI::App* const list = add(app, "list", "Records, a line each", options);
  list->add_option("--filter", options.filter, "Such as: event=range and order>=9")
      ->type_name("CONDITION");
  add_elf(list, options);
  add_next(list, options);
  commands[list] = run_list;
  CLI::App* const stats =
      add(app, "stats", "Latencies, batch fill, bytes by order, call sites", options);
  stats->add_option("--top", options.top, "Call sites to show [10]")
      ->check(CLI::Range(std::size_t{0}, most_told))
      ->type_name("N");
  add_elf(stats, options);
  add_next(stats, options);
  commands[stats] = run_stats;
  CLI::App* const step = add(app, "step", "Step through it, forwards and backwards", options);
  add_elf(step, options);
  add_next(step, options);
  commands[step] = run_step;
  CLI::App* const why = add(app, "why", "The history of one page", options);
  why->add_option("ADDRESS", options.address, "Guest-physical address")
      ->required()
      ->type_name("NUMBER");
  why->add_option("--limit", options.limit, "Events to tell, the last ones [100]")
      ->check(CLI::Range(std::size_t{1}, most_told))
      ->type_name("N");
  add_elf(why, options);
  add_next(why, options);
  commands[why] = run_why;
  CLI::App* const check =
      add(app, "check", "Verify the protocol; exit status 1 when it was broken", options);
  add_next(check, options);
  commands[check] = run_check;
  CLI::App* const diff = add(app, "diff", "What two runs did differently", options);
  diff->add_option("OTHER", options.other, "The other trace")->required()->type_name("FILE");
  add_elf(diff, options);
  commands[diff] = run_diff;
  CLI::App* const replay =
      add(app, "replay", "Feed its hints to the discard engine, without KVM", options);
  replay->add_option("--backing", options.replay.backing, "What backs RAM [as recorded]")
      ->type_name("thp|4k|memfd|hugetlb");
  replay->add_option("--discard", options.replay.discard, "How memory is given back [as recorded]")
      ->type_name("dontneed|free|none");
  replay->add_option("--speed", options.replay.speed, "real: in recorded time [max]")
      ->check(CLI::IsMember({"max", "real"}));
  replay->add_flag("--no-touch", options.replay.no_touch, "Leave memory empty before each hint");
  add_next(replay, options);
  commands[replay] = run_replay;
  CLI::App* const exports = add(app, "export", "For other tools", options);
  exports->add_option("--format", options.format, "What the other tool reads [perfetto]")
      ->check(CLI::IsMember({"perfetto", "chrome", "csv"}));
  exports
      ->add_option("--profile", options.profile,
                   "Samples of the same run, as vmm --profile-out FILE.json has them")
      ->type_name("FILE");
  exports->add_option("--output,-o", options.output, "- is standard output [-]")->type_name("FILE");
  add_next(exports, options);
  commands[exports] = run_export;
  CLI::App* const help = app.add_subcommand("help", "What the columns of all tables mean");
  help->add_option("TOPIC", options.topic, "columns")
      ->required()
      ->type_name("columns")
      ->check(CLI::IsMember({"columns"}));
  commands[help] = run_help;

  Talk talk;
  const auto finish = [&talk](int status) {
    const Result<void> told = talk.finish();
    return told ? status : fail(told.error().message);
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    // The program's name stands before a command's own.
    talk.write(app.get_subcommands().empty() ? app.help()
                                             : app.get_subcommands()[0]->help(app.get_name()));
    return finish(0);
  } catch (const CLI::CallForVersion& version) {
    talk.write(version.what() + std::string("\n"));
    return finish(0);
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-') {
      return fail(fmt::format("{:?}: no such command; see hvtrace --help", argv[1]));
    }
    const std::string text = error.what();
    return fail(text.substr(0, text.find('\n')) + "; see hvtrace --help");
  }
  const auto status = commands.at(app.get_subcommands()[0])(options, talk);
  return finish(status ? *status : fail(status.error().message));
}
