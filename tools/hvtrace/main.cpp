// SPDX-License-Identifier: MIT
// hvtrace: reads what `vmm --trace FILE` recorded. Exit status: 0; 1 when check or diff found
// something; 2 for a mistake in the command line or an unreadable trace.
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <iostream>
#include <map>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/diff.hpp"
#include "tools/hvtrace/export.hpp"
#include "tools/hvtrace/info.hpp"
#include "tools/hvtrace/list.hpp"
#include "tools/hvtrace/replay.hpp"
#include "tools/hvtrace/session.hpp"
#include "tools/hvtrace/stats.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/base/process_start.hpp"
#include "vmm/base/standard_error.hpp"
#include "vmm/base/version.hpp"
#include "vmm/boot/image_symbols.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/why.hpp"

namespace {

using hvtrace::TraceFile;
using vmm::Result;

struct Options {
  std::string trace, other, elf, filter, address, format = "perfetto", output;
  std::size_t top = 10;
  std::size_t limit = 100;
  hvtrace::ReplayOptions replay;
};

void write_out(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stdout));
}

// Of --elf, which must be right; else of the image where it was when the trace was recorded. That
// it is not there any more, or was built anew, is told, and addresses stay numbers.
Result<vmm::Symbols> symbols_for(const std::string& elf, const TraceFile& trace) {
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
  const bool is_hex = text.starts_with("0x");
  const std::string_view digits = is_hex ? text.substr(2) : text;
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
  if (error != std::errc{} || end != digits.data() + digits.size()) {
    return vmm::user_error("{:?}: not a guest-physical address; write such as 0x4a3000", text);
  }
  return value;
}

Result<int> run_info(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  write_out(hvtrace::render_info(trace));
  return 0;
}

Result<int> run_list(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  std::optional<hvtrace::Filter> filter;
  if (!options.filter.empty()) {
    EBB_TRY_ASSIGN(parsed, hvtrace::Filter::parse(options.filter));
    filter = std::move(parsed);
  }
  EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
  hvtrace::list(trace, filter, symbols, write_out);
  return 0;
}

Result<int> run_stats(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
  write_out(hvtrace::render_stats(trace, hvtrace::total(trace), symbols, options.top));
  return 0;
}

Result<int> run_check(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  const hvtrace::CheckResult result = hvtrace::check(trace);
  write_out(hvtrace::render_check(result));
  return result.violation_count == 0 ? 0 : 1;
}

Result<int> run_why(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  EBB_TRY_ASSIGN(gpa, parse_address(options.address));
  EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
  write_out(hvtrace::why(trace, gpa, symbols, options.limit));
  return 0;
}

Result<int> run_diff(const Options& options) {
  EBB_TRY_ASSIGN(left, TraceFile::open(options.trace));
  EBB_TRY_ASSIGN(right, TraceFile::open(options.other));
  EBB_TRY_ASSIGN(left_symbols, symbols_for(options.elf, left));
  // Two builds have two tables; --elf is then that of the first.
  const bool same_image = left.header().image_hash == right.header().image_hash;
  EBB_TRY_ASSIGN(right_symbols, symbols_for(same_image ? options.elf : std::string(), right));
  const hvtrace::DiffResult result = hvtrace::diff(left, left_symbols, right, right_symbols);
  write_out(result.text);
  return result.same ? 0 : 1;
}

Result<int> run_step(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  EBB_TRY_ASSIGN(symbols, symbols_for(options.elf, trace));
  return hvtrace::run_session(trace, symbols);
}

Result<int> run_replay(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  EBB_TRY_ASSIGN(result, hvtrace::replay(trace, options.replay));
  write_out(hvtrace::render_replay(result));
  return 0;
}

Result<int> run_export(const Options& options) {
  EBB_TRY_ASSIGN(trace, TraceFile::open(options.trace));
  std::FILE* const out =
      options.output.empty() ? stdout : std::fopen(options.output.c_str(), "wbe");
  if (out == nullptr) {
    return vmm::user_error("--output {}: {}", options.output, vmm::errno_text(errno));
  }
  const auto sink = [out](std::string_view text) { std::fwrite(text.data(), 1, text.size(), out); };
  if (options.format == "perfetto") {
    hvtrace::export_perfetto(trace, sink);
  } else if (options.format == "chrome") {
    hvtrace::export_chrome(trace, sink);
  } else {
    hvtrace::export_csv(trace, sink);
  }
  const bool failed = std::fflush(out) != 0 || std::ferror(out) != 0;
  if (!options.output.empty()) {
    static_cast<void>(std::fclose(out));
  }
  return failed ? Result<int>(vmm::user_error("{}: cannot be written", options.output)) : 0;
}

using Command = Result<int> (*)(const Options&);

CLI::App* add(CLI::App& app, const char* name, const char* help, Options& options) {
  CLI::App* const command = app.add_subcommand(name, help);
  command->add_option("TRACE", options.trace, "File written by vmm --trace")->required();
  return command;
}

void add_elf(CLI::App* command, Options& options) {
  command->add_option("--elf", options.elf, "The image's ELF file [where it was when recorded]");
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
  list->add_option("--filter", options.filter, "Condition, such as: event=range and order>=9");
  add_elf(list, options);
  commands[list] = run_list;
  CLI::App* const stats =
      add(app, "stats", "Latencies, batch fill, bytes by order, call sites", options);
  stats->add_option("--top", options.top, "Call sites to show [10]");
  add_elf(stats, options);
  commands[stats] = run_stats;
  CLI::App* const step = add(app, "step", "Step through it, forwards and backwards", options);
  add_elf(step, options);
  commands[step] = run_step;
  CLI::App* const why = add(app, "why", "The history of one page", options);
  why->add_option("ADDRESS", options.address, "Guest-physical address")->required();
  why->add_option("--limit", options.limit, "Events to tell, the last ones [100]")
      ->check(CLI::PositiveNumber);
  add_elf(why, options);
  commands[why] = run_why;
  commands[add(app, "check", "Verify the protocol; exit status 1 when it was broken", options)] =
      run_check;
  CLI::App* const diff = add(app, "diff", "What two runs did differently", options);
  diff->add_option("OTHER", options.other, "The other trace")->required();
  add_elf(diff, options);
  commands[diff] = run_diff;
  CLI::App* const replay =
      add(app, "replay", "Feed its hints to the discard engine, without KVM", options);
  replay->add_option("--backing", options.replay.backing,
                     "thp, 4k, memfd or hugetlb [as recorded]");
  replay->add_option("--discard", options.replay.discard, "dontneed, free or none [as recorded]");
  replay->add_option("--speed", options.replay.speed, "max, or real: in recorded time [max]")
      ->check(CLI::IsMember({"max", "real"}));
  replay->add_flag("--no-touch", options.replay.no_touch, "Leave memory empty before each hint");
  commands[replay] = run_replay;
  CLI::App* const exports = add(app, "export", "For other tools", options);
  exports->add_option("--format", options.format, "perfetto, chrome or csv [perfetto]")
      ->check(CLI::IsMember({"perfetto", "chrome", "csv"}));
  exports->add_option("--output,-o", options.output, "File [standard output]");
  commands[exports] = run_export;

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    // The program's name stands before a command's own.
    write_out(app.get_subcommands().empty() ? app.help()
                                            : app.get_subcommands()[0]->help(app.get_name()));
    return 0;
  } catch (const CLI::CallForVersion& version) {
    write_out(version.what() + std::string("\n"));
    return 0;
  } catch (const CLI::ParseError& error) {
    const std::string text = error.what();
    return fail(text.substr(0, text.find('\n')) + "; see hvtrace --help");
  }
  const auto status = commands.at(app.get_subcommands()[0])(options);
  return status ? *status : fail(status.error().message);
}
