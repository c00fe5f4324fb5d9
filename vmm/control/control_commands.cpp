// SPDX-License-Identifier: MIT
#include "vmm/control/control_commands.hpp"

#include <algorithm>
#include <array>
#include <csignal>

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

// A line's first word, and the rest.
std::pair<std::string_view, std::string_view> split(std::string_view line) {
  line = trimmed(line);
  const std::size_t blank = line.find_first_of(blanks);
  return {line.substr(0, blank),
          blank == std::string_view::npos ? std::string_view{} : trimmed(line.substr(blank))};
}

// `answer` begins with "ok".
ControlReply done(const Json& answer) {
  return answer.line();
}

Json to_json(const MemorySample& memory) {
  return {{"resident_bytes", memory.resident_bytes},
          {"live_bytes", memory.guest.live_bytes},
          {"fresh_bytes", memory.guest.fresh_bytes},
          {"reported_bytes", memory.guest.reported_bytes},
          {"isolated_bytes", memory.guest.isolated_bytes},
          {"cached_bytes", memory.guest.cached_bytes}};
}

Json to_json(const TraceState& trace) {
  Json json = {{"name", trace.name},
               {"records", trace.records.kept_records},
               {"lost_records", trace.records.lost_records},
               {"lost_guest_events", trace.guest_events_lost}};
  if (!trace.records.why.empty()) {
    json["why"] = trace.records.why;
  }
  return json;
}

} // namespace

struct ControlCommands::Command {
  std::string_view name;
  std::string_view arguments; // empty: takes none
  std::string_view text;
  Result<ControlReply> (ControlCommands::*run)(std::string_view argument);
};

const std::array<ControlCommands::Command, 9> ControlCommands::commands{{
    {"status", "", "state, policy, hints and memory", &ControlCommands::status},
    {"report", "on | off | KEY=VALUE,...", "re-tune reporting, as --report does; nothing: show",
     &ControlCommands::report},
    {"memory-price", "TIME", "as --memory-price; nothing: show", &ControlCommands::price},
    {"trace", "start [NAME] | rotate [NAME] | stop",
     "record hints into the file handed over with it; nothing: show", &ControlCommands::trace},
    {"pause", "", "keep all vCPUs out of the guest", &ControlCommands::pause},
    {"resume", "", "let them in again", &ControlCommands::resume},
    {"stop", "", "end the guest", &ControlCommands::stop},
    {"wait", "end | above SIZE | below SIZE",
     "answer when the guest ends, or so much of it is resident", &ControlCommands::wait},
    {"help", "", "these commands", &ControlCommands::help},
}};

std::string ControlCommands::refusal(Fault fault, std::string_view why) {
  Json answer;
  answer["ok"] = false;
  answer["error"] = why;
  answer["fault"] = fault == Fault::request ? "request" : "state";
  return answer.line();
}

ControlReply ControlCommands::execute(std::string_view line) {
  UniqueFd none;
  return execute(line, none);
}

ControlReply ControlCommands::execute(std::string_view line, UniqueFd& file) {
  file_ = &file;
  const auto [name, argument] = split(line);
  const auto command = std::ranges::find(commands, name, &Command::name);
  if (command == commands.end()) {
    return refusal(Fault::request, fmt::format("{:?}: no such command; try help", trimmed(line)));
  }
  if (command->arguments.empty() && !argument.empty()) {
    return refusal(Fault::request,
                   fmt::format("{} takes no argument, and got {:?}", name, argument));
  }
  Result<ControlReply> reply = (this->*command->run)(argument);
  if (reply) {
    return std::move(*reply);
  }
  const bool is_request = reply.error().error_class == ErrorClass::user;
  return refusal(is_request ? Fault::request : Fault::state, reply.error().message);
}

Result<ControlReply> ControlCommands::status(std::string_view /*argument*/) {
  const HintTotals hints = targets_.hints();
  Json answer;
  answer["ok"] = true;
  answer["state"] = state();
  answer["report"] = to_json(targets_.report.settings());
  answer["under_pressure"] = targets_.report.pressure().now;
  answer["memory_price_ns"] = targets_.memory_price_ns.load(std::memory_order_relaxed);
  Json& hinted = answer["hints"] = vmm::to_json(hints);
  hinted["doorbells"] = hints.doorbells;
  hinted["doorbells_suppressed"] = hints.doorbells_suppressed;
  hinted["interrupts"] = hints.interrupts;
  hinted["faults"] = hints.faults.sum();
  answer["memory"] = to_json(targets_.memory());
  answer["trace"] = trace_now();
  return done(answer);
}

Result<ControlReply> ControlCommands::report(std::string_view argument) {
  if (argument.empty()) {
    return done({{"ok", true}, {"report", to_json(targets_.report.settings())}});
  }
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
    return environment_error("this guest does not take a new policy while it runs");
  }
  return done({{"ok", true}, {"report", to_json(*written)}});
}

// With order=auto the policy follows.
Result<ControlReply> ControlCommands::price(std::string_view argument) {
  if (!argument.empty()) {
    const auto price_ns = parse_duration_ns(argument);
    if (!price_ns || *price_ns == 0) {
      return user_error("memory-price {:?}: not a time; write such as 1ms or 130us", argument);
    }
    targets_.memory_price_ns.store(*price_ns, std::memory_order_relaxed);
    targets_.report.change([this](ReportSettings& settings) {
      if (settings.automatic) {
        settings.policy = targets_.automatic(settings.policy);
      }
      return settings.automatic;
    });
  }
  return done({{"ok", true},
               {"memory_price_ns", targets_.memory_price_ns.load(std::memory_order_relaxed)}});
}

Result<ControlReply> ControlCommands::trace(std::string_view argument) {
  const auto [what, name] = split(argument);
  if (what.empty()) {
    return done({{"ok", true}, {"trace", trace_now()}});
  }
  const bool stops = what == "stop";
  if ((!stops && what != "start" && what != "rotate") || (stops && !name.empty())) {
    return user_error("trace {:?}: must be start [NAME], rotate [NAME], stop or nothing", argument);
  }
  UniqueFd file = stops ? UniqueFd() : std::exchange(*file_, {}); // also of one that is refused
  if (targets_.end.ended()) {
    return environment_error("the guest has ended");
  }
  if (targets_.trace == nullptr) {
    return environment_error(
        "trace {}: nothing can be recorded; that takes --trace FILE --trace-start off", what);
  }
  if (stops) {
    EBB_TRY_ASSIGN(state, targets_.trace->stop());
    return done({{"ok", true}, {"done", to_json(state)}, {"trace", nullptr}});
  }
  if (what == "start") {
    EBB_TRY_ASSIGN(state, targets_.trace->start(std::move(file), name));
    return done({{"ok", true}, {"trace", to_json(state)}});
  }
  EBB_TRY_ASSIGN(state, targets_.trace->rotate(std::move(file), name));
  return done({{"ok", true}, {"done", to_json(state)}, {"trace", trace_now()}});
}

Json ControlCommands::trace_now() const {
  const auto state =
      targets_.trace != nullptr ? targets_.trace->state() : std::optional<TraceState>{};
  return state ? to_json(*state) : Json(nullptr);
}

Result<void> ControlCommands::check_gate() const {
  if (targets_.end.ended()) {
    return environment_error("the guest has ended");
  }
  if (targets_.gate == nullptr) {
    return environment_error("with --gdb and --step the guest is held from there");
  }
  return {};
}

Result<ControlReply> ControlCommands::pause(std::string_view /*argument*/) {
  EBB_TRY(check_gate());
  if (!paused_) {
    targets_.gate->close();
    paused_ = true;
  }
  return done({{"ok", true}, {"state", state()}});
}

Result<ControlReply> ControlCommands::resume(std::string_view /*argument*/) {
  EBB_TRY(check_gate());
  if (paused_) {
    targets_.gate->open();
    paused_ = false;
  }
  return done({{"ok", true}, {"state", state()}});
}

Result<ControlReply> ControlCommands::stop(std::string_view /*argument*/) {
  if (targets_.end.ended()) {
    return environment_error("the guest has ended");
  }
  targets_.end.end({EndKind::interrupted, SIGTERM, "stopped over --control"});
  return done({{"ok", true}, {"state", state()}});
}

Result<ControlReply> ControlCommands::wait(std::string_view argument) {
  const auto [what, size] = split(argument);
  if ((what.empty() || what == "end") && size.empty()) {
    return ControlReply::Later([this]() -> std::optional<std::string> {
      return targets_.end.ended() ? std::optional(done(ended()).text) : std::nullopt;
    });
  }
  const auto bytes = parse_size(size);
  if ((what != "above" && what != "below") || !bytes) {
    return user_error("wait {:?}: must be end, above SIZE or below SIZE, such as above 512M",
                      argument);
  }
  if (!targets_.measures_resident) {
    return environment_error("this host does not tell how much memory is resident");
  }
  const auto mark =
      targets_.marks.watch(what == "above" ? MarkSide::above : MarkSide::below, *bytes);
  mark->look(targets_.memory());
  return ControlReply::Later(
      [this, mark, event = std::string(what)]() -> std::optional<std::string> {
        if (const auto resident = mark->reached_bytes()) {
          return done({{"ok", true}, {"event", event}, {"resident_bytes", *resident}}).text;
        }
        return targets_.end.ended() ? std::optional(done(ended()).text) : std::nullopt;
      });
}

Result<ControlReply> ControlCommands::help(std::string_view /*argument*/) {
  Json known;
  for (const Command& command : commands) {
    known[command.name] = {{"arguments", command.arguments}, {"text", command.text}};
  }
  return done({{"ok", true}, {"commands", std::move(known)}});
}

std::string_view ControlCommands::state() const {
  if (targets_.end.ended()) {
    return "ended";
  }
  return paused_ ? "paused" : "running";
}

Json ControlCommands::ended() const {
  const GuestEnding ending = targets_.end.ending();
  return {{"ok", true},
          {"event", "end"},
          {"how", name_of(ending.kind)},
          {"exit_status", ending.process_status()},
          {"text", ending.text}};
}

} // namespace vmm
