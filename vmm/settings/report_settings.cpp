// SPDX-License-Identifier: MIT
#include "vmm/settings/report_settings.hpp"

#include <array>
#include <string>
#include <utility>

#include "shared/report_channel.hpp"
#include "vmm/base/option_values.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

using abi::ReportStrategy;

constexpr std::array<std::pair<std::string_view, ReportStrategy>, 5> strategies{
    {{"batch", ReportStrategy::batch},
     {"each", ReportStrategy::each},
     {"scan", ReportStrategy::scan},
     {"decay", ReportStrategy::decay},
     {"adaptive", ReportStrategy::adaptive}}};

Result<std::uint64_t> duration_ns(std::string_view option, std::string_view text) {
  const auto duration = parse_duration_ns(text);
  if (!duration) {
    return user_error("{} {:?}: not a time; write milliseconds such as 0.5, or 500us, 2s", option,
                      text);
  }
  return *duration;
}

// Takes one "key=value" into `settings`.
Result<void> take_item(std::string_view option, std::string_view item, ReportSettings& settings) {
  const std::string_view key = key_of(item);
  if (key.size() == item.size()) {
    return user_error(
        "{} {:?}: must be on or off, or any of order=, batch=, keep=, delay=, timeout=, "
        "strategy= separated by commas",
        option, item);
  }
  const std::string_view value = item.substr(key.size() + 1);
  const std::string name = fmt::format("{} {}", option, key);
  if (key == "order" && value == "auto") {
    settings.automatic = true;
  } else if (key == "order") {
    settings.automatic = false;
    EBB_TRY_ASSIGN(order, number_within(name, value, 0, abi::max_order));
    settings.policy.order = static_cast<std::uint32_t>(order);
  } else if (key == "batch") {
    EBB_TRY_ASSIGN(batch, number_within(name, value, 1, abi::max_batch_ranges));
    settings.policy.batch = static_cast<std::uint32_t>(batch);
  } else if (key == "keep") {
    const auto keep = parse_size(value);
    if (!keep) {
      return user_error("{} {:?}: not a size; write such as 32M", name, value);
    }
    settings.policy.keep_bytes = *keep;
  } else if (key == "delay") {
    EBB_TRY_ASSIGN(delay, duration_ns(name, value));
    settings.policy.delay_ns = delay;
  } else if (key == "timeout") {
    EBB_TRY_ASSIGN(timeout, duration_ns(name, value));
    settings.timeout_ns = timeout;
  } else if (key == "strategy") {
    EBB_TRY_ASSIGN(strategy, choose<ReportStrategy>(name, value, strategies));
    settings.policy.strategy = strategy;
  } else {
    return user_error("{} {:?}: no such key; there are order, batch, keep, delay, timeout and "
                      "strategy",
                      option, key);
  }
  return {};
}

} // namespace

Result<ReportSettings> parse_report_settings(std::string_view option, std::string_view text,
                                             const ReportSettings& base) {
  ReportSettings settings = base;
  if (text == "off") {
    settings.policy.enabled = 0;
    return settings;
  }
  if (text == "on") {
    settings.policy.enabled = 1;
    return settings;
  }
  EBB_TRY(for_each_item(option, text,
                        [&](std::string_view item) { return take_item(option, item, settings); }));
  if (base.automatic && !settings.automatic) {
    // An order of the user's own: how order=auto would have let go of it is no part of that.
    ReportSettings manual = base;
    manual.automatic = false;
    manual.policy.strategy = abi::ReportStrategy::batch;
    manual.policy.delay_ns = 0;
    return parse_report_settings(option, text, manual);
  }
  return settings;
}

Json to_json(const ReportSettings& settings) {
  const abi::ReportPolicy& policy = settings.policy;
  return {{"enabled", policy.enabled != 0},  {"order", policy.order},
          {"batch", policy.batch},           {"keep_bytes", policy.keep_bytes},
          {"delay_ns", policy.delay_ns},     {"timeout_ns", settings.timeout_ns},
          {"automatic", settings.automatic}, {"strategy", name_of(policy.strategy)}};
}

std::string_view name_of(abi::ReportStrategy strategy) {
  for (const auto& [name, value] : strategies) {
    if (value == strategy) {
      return name;
    }
  }
  return "?";
}

} // namespace vmm
