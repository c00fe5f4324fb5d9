// SPDX-License-Identifier: MIT
#include "vmm/trace/step_commands.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include "vmm/base/units.hpp"
#include "vmm/trace/why.hpp"

namespace hvtrace {
namespace {

constexpr std::uint64_t page_of_records = 20;
constexpr std::size_t why_events = 100;

// Long names, as in gdb and in scripts that people read. Those of a live stepper, too: a letter has
// one meaning everywhere.
constexpr std::array<std::pair<std::string_view, char>, 16> names{{{"step", 's'},
                                                                   {"back", 'S'},
                                                                   {"next", 'n'},
                                                                   {"previous", 'p'},
                                                                   {"until", 'u'},
                                                                   {"continue", 'c'},
                                                                   {"goto", 'g'},
                                                                   {"why", 'w'},
                                                                   {"help", 'h'},
                                                                   {"quit", 'q'},
                                                                   {"regs", 'r'},
                                                                   {"decline", 'D'},
                                                                   {"fail", 'F'},
                                                                   {"delay", 'T'},
                                                                   {"honest", 'H'},
                                                                   {"detach", 'd'}}};

} // namespace

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find_last_not_of(" \r") + 1);
}

std::optional<std::uint64_t> whole_number(std::string_view text, std::uint64_t fallback) {
  return text.empty() ? fallback : vmm::parse_number_or_hex(text);
}

StepLine take_apart(std::string_view line) {
  if (line.empty()) {
    return {'s', {}};
  }
  line = trimmed(line);
  if (line.empty()) {
    return {'f', {}};
  }
  const std::string_view word = line.substr(0, line.find(' '));
  const auto* const known =
      std::ranges::find(names, word, &std::pair<std::string_view, char>::first);
  if (known != names.end()) {
    return {known->second, trimmed(line.substr(word.size()))};
  }
  return {line[0], trimmed(line.substr(1))};
}

std::string StepCommands::help() {
  return "s j Enter [N]  step a record        S k [N]    back a record\n"
         "n              to the next batch    p          to the previous batch\n"
         "space f        on by 20             b          back by 20\n"
         "u / EXPR       until a condition    U ? EXPR   backwards until it\n"
         ".              the same search on   c          to the end\n"
         "g [N]          to the first, or N   G          to the end\n"
         "w ADDRESS      why is this page so  h          this\n"
         "q              quit\n"
         "EXPR: event=range and order>=9; gpa=0x4a3000; latency>100us; outcome=declined; "
         "channel=1\n";
}

StepOutcome StepCommands::search(std::string_view text, bool backwards) {
  if (!text.empty()) {
    auto filter = Filter::parse(std::string(text));
    if (!filter) {
      return {.message = filter.error().message};
    }
    last_ = std::move(*filter);
    last_backwards_ = backwards;
  }
  if (!last_) {
    return {.message = "no condition yet"};
  }
  const bool found = last_backwards_ ? stepper_.find_back(*last_) : stepper_.find_forward(*last_);
  if (found) {
    return {};
  }
  return {.message = "no such record", .beyond_end = !last_backwards_};
}

StepOutcome StepCommands::execute(std::string_view line) {
  const auto [command, rest] = take_apart(line);
  const auto count = whole_number(rest, 1);
  const auto batch = Filter::parse("event=batch");
  switch (command) {
  case 's':
  case 'j':
  case 'S':
  case 'k':
    if (!count) {
      return {.message = fmt::format("not a number: {}", rest)};
    }
    if (command == 's' || command == 'j') {
      const bool at_end = stepper_.position() + 1 >= stepper_.source().end();
      stepper_.forward(*count);
      return {.beyond_end = at_end};
    }
    stepper_.back(*count);
    return {};
  case 'n':
    if (stepper_.find_forward(*batch)) {
      return {};
    }
    return {.message = "no further batch", .beyond_end = true};
  case 'p':
    return {.message = stepper_.find_back(*batch) ? "" : "no earlier batch"};
  case 'f':
    stepper_.forward(page_of_records);
    return {};
  case 'b':
    stepper_.back(page_of_records);
    return {};
  case 'u':
  case '/':
    return search(rest, false);
  case 'U':
  case '?':
    return search(rest, true);
  case '.':
    return search({}, false);
  case 'c':
  case 'G':
    stepper_.seek(stepper_.source().end() - 1);
    return {.beyond_end = command == 'c'};
  case 'g': {
    const auto target = whole_number(rest, stepper_.source().first());
    if (!target) {
      return {.message = fmt::format("not a number: {}", rest)};
    }
    stepper_.seek(*target);
    return {};
  }
  case 'w': {
    const auto gpa = whole_number(rest, 0);
    if (rest.empty() || !gpa) {
      return {.message = "w wants a guest-physical address, such as w 0x4a3000"};
    }
    return {.message = why(stepper_.source(), *gpa, symbols_, why_events)};
  }
  case 'h':
    return {.message = help()};
  case 'q':
    return {.quit = true};
  default:
    return {.message = fmt::format("no command {}; h for help", command)};
  }
}

} // namespace hvtrace
