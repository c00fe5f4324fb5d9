// SPDX-License-Identifier: MIT
#include "vmm/control/control_commands.hpp"

#include "vmm/base/json.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

constexpr std::string_view blanks = " \t";

std::string_view trimmed(std::string_view text) {
  const std::size_t start = text.find_first_not_of(blanks);
  return start == std::string_view::npos
             ? std::string_view{}
             : text.substr(start, text.find_last_not_of(blanks) + 1 - start);
}

double microseconds(std::uint64_t ns) {
  return static_cast<double>(ns) / 1e3;
}

} // namespace

std::string describe(const ReportSettings& settings) {
  const abi::ReportPolicy& policy = settings.policy;
  return fmt::format("{} order={}{},batch={},keep={},delay={}us,timeout={}us,strategy={}",
                     policy.enabled != 0 ? "on" : "off", settings.automatic ? "auto:" : "",
                     policy.order, policy.batch, exact_size(policy.keep_bytes),
                     microseconds(policy.delay_ns), microseconds(settings.timeout_ns),
                     name_of(policy.strategy));
}

std::string ControlCommands::execute(std::string_view line) const {
  line = trimmed(line);
  const std::size_t blank = line.find_first_of(blanks);
  const std::string_view command = line.substr(0, blank);
  const std::string_view argument =
      blank == std::string_view::npos ? std::string_view{} : trimmed(line.substr(blank));
  if (command == "report") {
    const Result<std::string> answer = report(argument);
    return answer ? "ok " + *answer : "error " + answer.error().message;
  }
  if (command == "status" && argument.empty()) {
    return "ok " + status();
  }
  if (command == "help" && argument.empty()) {
    return "ok commands: report on | off | order=,batch=,keep=,delay=,timeout=,strategy=; status; "
           "help";
  }
  return fmt::format("error {:?}: no such command; try help", line);
}

Result<std::string> ControlCommands::report(std::string_view argument) const {
  // Parsed on top of what is in force at the moment of the change.
  Result<void> parsed;
  const auto written = targets_.report.change([&](ReportSettings& settings) {
    const auto changed = parse_report_settings("report", argument, settings);
    if (!changed) {
      parsed = std::unexpected(changed.error());
    } else if (changed->policy.keep_bytes > targets_.guest_bytes) {
      parsed = user_error("report keep {}: more than the guest's memory; must be at most {}",
                          exact_size(changed->policy.keep_bytes), exact_size(targets_.guest_bytes));
    } else if (changed->automatic && settings.automatic &&
               changed->policy.strategy != settings.policy.strategy) {
      parsed = user_error("report strategy: order=auto chooses it itself; give an order as well");
    } else {
      const bool began = changed->automatic && !settings.automatic;
      settings = *changed;
      if (began) {
        settings.policy = targets_.automatic(settings.policy);
      }
    }
    return parsed.has_value();
  });
  EBB_TRY(parsed);
  if (!written) {
    return user_error("this guest does not take a new policy while it runs");
  }
  return describe(*written);
}

std::string ControlCommands::status() const {
  const ReportSettings settings = targets_.report.settings();
  const HintTotals hints = targets_.hints();
  const MemorySample memory = targets_.memory();
  Json json;
  json["report"] = {
      {"enabled", settings.policy.enabled != 0},  {"automatic", settings.automatic},
      {"order", settings.policy.order},           {"batch", settings.policy.batch},
      {"keep_bytes", settings.policy.keep_bytes}, {"delay_ns", settings.policy.delay_ns},
      {"timeout_ns", settings.timeout_ns},        {"strategy", name_of(settings.policy.strategy)}};
  Json& hinted = json["hints"] = to_json(hints);
  hinted["doorbells"] = hints.doorbells;
  hinted["doorbells_suppressed"] = hints.doorbells_suppressed;
  hinted["interrupts"] = hints.interrupts;
  hinted["faults"] = hints.faults.sum();
  json["memory"] = {{"resident_bytes", memory.resident_bytes},
                    {"live_bytes", memory.guest.live_bytes},
                    {"fresh_bytes", memory.guest.fresh_bytes},
                    {"reported_bytes", memory.guest.reported_bytes},
                    {"isolated_bytes", memory.guest.isolated_bytes},
                    {"cached_bytes", memory.guest.cached_bytes}};
  return json.line();
}

} // namespace vmm
