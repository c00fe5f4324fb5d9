// SPDX-License-Identifier: MIT
#include "guest/parameter.hpp"

#include <algorithm>
#include <charconv>

#include "guest/workload.hpp"

namespace guest {

namespace {

struct Leading {
  std::uint64_t value;
  std::string_view rest;
};

// The whole number that a text begins with.
std::optional<Leading> leading_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) {
    return std::nullopt;
  }
  return Leading{value, text.substr(static_cast<std::size_t>(end - text.data()))};
}

bool is_choice(std::string_view choices, std::string_view value) {
  for (;;) {
    const std::size_t bar = choices.find('|');
    if (choices.substr(0, bar) == value) {
      return true;
    }
    if (bar == std::string_view::npos) {
      return false;
    }
    choices.remove_prefix(bar + 1);
  }
}

void check_range(Env& env, const Parameter& parameter, std::string_view value,
                 std::optional<std::uint64_t> number, std::string_view what) {
  if (!number) {
    env.usage_error("--arg {}={} is not {}", parameter.key, value, what);
  }
  const std::uint64_t highest =
      parameter.kind == Parameter::Kind::memory ? env.ram_bytes() : parameter.highest;
  if (*number < parameter.lowest || *number > highest) {
    env.usage_error("--arg {}={} is out of range: {} to {}", parameter.key, value, parameter.lowest,
                    highest);
  }
}

void check_value(Env& env, const Parameter& parameter, std::string_view value) {
  switch (parameter.kind) {
  case Parameter::Kind::number:
    check_range(env, parameter, value, parse_number(value), "a whole number");
    return;
  case Parameter::Kind::bytes:
  case Parameter::Kind::memory:
    check_range(env, parameter, value, parse_bytes(value),
                "a size: use bytes or a suffix K, M, G, T");
    return;
  case Parameter::Kind::duration:
    check_range(env, parameter, value, parse_duration_ns(value),
                "a time of at most a year: use a number with us, ms or s");
    return;
  case Parameter::Kind::choice:
    if (!is_choice(parameter.choices, value)) {
      env.usage_error("{}={} is unknown: use {}", parameter.key, value, parameter.choices);
    }
    return;
  case Parameter::Kind::text:
  case Parameter::Kind::input:
    return;
  }
}

[[noreturn]] void refuse_unknown(Env& env, const WorkloadEntry& workload, std::string_view key) {
  // The host makes an argument of --speed.
  if (key == "speed") {
    env.usage_error("--speed: the workload {} has no recorded times: leave it out", workload.name);
  }
  env.usage_error("--arg {}: the workload {} has no such argument; it is: {}", key, workload.name,
                  workload.summary);
}

} // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  const auto number = leading_number(text);
  return number && number->rest.empty() ? std::optional(number->value) : std::nullopt;
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  constexpr std::string_view suffixes = "KMGT";
  const auto number = leading_number(text);
  if (!number || number->rest.size() > 1) {
    return std::nullopt;
  }
  if (number->rest.empty()) {
    return number->value;
  }
  const std::size_t power = suffixes.find(number->rest);
  if (power == std::string_view::npos) {
    return std::nullopt;
  }
  const auto shift = static_cast<unsigned>(power + 1) * 10;
  return number->value >> (64 - shift) == 0 ? std::optional(number->value << shift) : std::nullopt;
}

std::optional<std::uint64_t> parse_duration_ns(std::string_view text) {
  constexpr std::uint64_t longest_ns = longest_ms * 1'000'000;
  const auto number = leading_number(text);
  if (!number) {
    return std::nullopt;
  }
  const std::uint64_t unit_ns = number->rest == "us"   ? 1'000
                                : number->rest == "ms" ? 1'000'000
                                : number->rest == "s"  ? 1'000'000'000
                                                       : 0;
  return unit_ns != 0 && number->value <= longest_ns / unit_ns
             ? std::optional(number->value * unit_ns)
             : std::nullopt;
}

void check_arguments(Env& env, const WorkloadEntry& workload) {
  bool reads_input = false;
  for (const Parameter& parameter : workload.parameters) {
    reads_input = reads_input || parameter.kind == Parameter::Kind::input;
  }
  if (!reads_input && !env.input().empty()) {
    env.usage_error("--input: the workload {} reads none: leave it out", workload.name);
  }
  env.for_each_arg([&](std::string_view key, std::string_view value) {
    // Hosts before 1.2 say speed=max to every workload.
    if (key == "workload" || (key == "speed" && value == "max" && env.host_minor() < 2)) {
      return;
    }
    const auto parameter =
        std::ranges::find_if(workload.parameters, [key](const Parameter& candidate) {
          return candidate.kind != Parameter::Kind::input && candidate.key == key;
        });
    if (parameter == workload.parameters.end()) {
      refuse_unknown(env, workload, key);
    }
    if (env.arg(key, value).data() != value.data()) {
      env.usage_error("{} is given twice", key);
    }
    check_value(env, *parameter, value);
  });
}

} // namespace guest
