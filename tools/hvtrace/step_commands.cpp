// SPDX-License-Identifier: MIT
#include "tools/hvtrace/step_commands.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "tools/hvtrace/why.hpp"

namespace hvtrace {
namespace {

constexpr std::uint64_t page_of_records = 20;
constexpr std::size_t why_events = 100;

// A whole number, decimal or 0x; `fallback` for no text, empty for nonsense.
std::optional<std::uint64_t> number(std::string_view text, std::uint64_t fallback) {
  if (text.empty()) {
    return fallback;
  }
  const bool is_hex = text.starts_with("0x");
  const std::string_view digits = is_hex ? text.substr(2) : text;
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
  if (error != std::errc{} || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find_last_not_of(" \r") + 1);
}

} // namespace

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
  return {.message = found ? "" : "no such record"};
}

StepOutcome StepCommands::execute(std::string_view line) {
  line = trimmed(line.empty() ? "s" : line);
  const char command = line.empty() ? 'f' : line[0]; // a lone space pages, as in less
  const std::string_view rest = line.empty() ? line : trimmed(line.substr(1));
  const auto count = number(rest, 1);
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
      stepper_.forward(*count);
    } else {
      stepper_.back(*count);
    }
    return {};
  case 'n':
    return {.message = stepper_.find_forward(*batch) ? "" : "no further batch"};
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
    return {};
  case 'g': {
    const auto target = number(rest, stepper_.source().first());
    if (!target) {
      return {.message = fmt::format("not a number: {}", rest)};
    }
    stepper_.seek(*target);
    return {};
  }
  case 'w': {
    const auto gpa = number(rest, 0);
    if (rest.empty() || !gpa) {
      return {.message = "w wants a guest-physical address, such as w 0x4a3000"};
    }
    return {.message = why(stepper_.source(), *gpa, symbols_, why_events)};
  }
  case 'h':
    return {.message = help()};
  case 'q':
    return {.message = {}, .quit = true};
  default:
    return {.message = fmt::format("no command {}; h for help", command)};
  }
}

} // namespace hvtrace
