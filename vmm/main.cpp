// SPDX-License-Identifier: MIT
// vmm: command line -> machine -> report -> exit status.
#include <unistd.h>

#include <cstdio>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "vmm/config.hpp"
#include "vmm/image.hpp"
#include "vmm/live_view.hpp"
#include "vmm/machine.hpp"
#include "vmm/probe.hpp"
#include "vmm/run_report.hpp"
#include "vmm/stats.hpp"
#include "vmm/summary.hpp"
#include "vmm/symbols.hpp"

namespace {

int exit_status_of(const vmm::Error& error) {
  return error.error_class == vmm::ErrorClass::user ? 2 : 4;
}

// The one line that says what was wrong.
int fail(const vmm::Error& error) {
  fmt::print(stderr, "vmm: {}\n", error.message);
  return exit_status_of(error);
}

void write_out(std::string_view text) {
  // Nobody is left to tell when standard output itself fails.
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stdout));
  static_cast<void>(std::fflush(stdout));
}

vmm::LiveStyle live_style(const vmm::Config& config) {
  if (config.verbosity == vmm::Verbosity::quiet || config.live == vmm::LiveMode::off) {
    return vmm::LiveStyle::none;
  }
  return config.live == vmm::LiveMode::on || ::isatty(STDOUT_FILENO) == 1 ? vmm::LiveStyle::chart
                                                                          : vmm::LiveStyle::plain;
}

vmm::Result<int> run(const vmm::Config& config) {
  // Whatever can be refused is refused before anything runs.
  if (config.stats) {
    EBB_TRY(vmm::check_stats_path(*config.stats));
  }
  EBB_TRY_ASSIGN(image, vmm::load_image(config.image));
  std::optional<vmm::TraceInput> input;
  if (config.input) {
    EBB_TRY_ASSIGN(trace, vmm::TraceInput::load(*config.input));
    input = std::move(trace);
  }
  EBB_TRY_ASSIGN(signals, vmm::BlockedSignals::create()); // before anything starts a thread
  vmm::LiveView live(live_style(config), write_out,
                     [] { return vmm::terminal_width(STDOUT_FILENO); });
  EBB_TRY_ASSIGN(machine,
                 vmm::Machine::create(
                     config, std::move(image), vmm::Symbols::for_image(config.image),
                     std::move(input),
                     {.console = [&](std::string_view text) { live.print_above(text); },
                      .observer = [&](const vmm::MemorySample& sample) { live.update(sample); }}));
  if (const auto address = machine->gdb_address()) {
    fmt::print(stderr, "vmm: the guest waits for gdb: target remote {}\n", *address);
  }
  const vmm::GuestEnding ending = machine->run(signals);
  live.finish();
  if (!ending.text.empty()) {
    fmt::print(stderr, "vmm: {}\n", ending.text);
  }
  const vmm::RunStats stats = vmm::make_stats(config, *machine, ending);
  // A guest that never got to its workload has told why, and has nothing to sum up.
  const bool has_summary =
      machine->times().workload_begin_ns != 0 || ending.kind == vmm::EndKind::interrupted;
  if (config.verbosity == vmm::Verbosity::normal && has_summary) {
    write_out(vmm::render_summary(stats));
  }
  if (config.stats) {
    EBB_TRY(vmm::write_stats(stats, *config.stats));
  }
  return ending.process_status();
}

vmm::Result<void> probe(const vmm::ProbeHost& request) {
  const vmm::HostReport report = vmm::probe_host(request.kvm_device);
  write_out(vmm::render(report));
  return request.stats ? vmm::write_report(report, *request.stats) : vmm::Result<void>{};
}

} // namespace

int main(int argc, char** argv) {
  const auto parsed =
      vmm::parse_command_line(std::span<const char* const>(argv, static_cast<std::size_t>(argc)));
  if (!parsed) {
    return fail(parsed.error());
  }
  if (const auto* const text = std::get_if<vmm::ShowText>(&*parsed)) {
    write_out(text->text);
    return 0;
  }
  if (const auto* const request = std::get_if<vmm::ProbeHost>(&*parsed)) {
    const auto probed = probe(*request);
    return probed ? 0 : fail(probed.error());
  }
  const auto status = run(std::get<vmm::Config>(*parsed));
  return status ? *status : fail(status.error());
}
