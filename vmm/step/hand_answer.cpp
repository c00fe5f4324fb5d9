// SPDX-License-Identifier: MIT
#include "vmm/step/hand_answer.hpp"

#include <fmt/core.h>

#include "vmm/base/units.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/step_commands.hpp"

namespace vmm {
namespace {

std::string list(const std::bitset<abi::max_batch_ranges>& ranges) {
  std::string text;
  for (std::size_t range = 0; range < ranges.size(); ++range) {
    if (ranges.test(range)) {
      text += fmt::format("{}{}", text.empty() ? "" : ", ", range);
    }
  }
  return text;
}

std::string describe_answer(const BatchFaults& faults) {
  std::string text = "answered honestly";
  const bool has_failed = faults.ranges && faults.ranges->failed.any();
  const bool has_declined = faults.ranges && faults.ranges->declined.any();
  if (has_failed || has_declined) {
    text = "answered but for";
    if (has_declined) {
      text += " ranges declined: " + list(faults.ranges->declined);
    }
    if (has_failed) {
      text +=
          std::string(has_declined ? ";" : "") + " ranges failed: " + list(faults.ranges->failed);
    }
  }
  if (faults.partial > 0) {
    text += fmt::format(", {:.3g} of all ranges declined", faults.partial);
  }
  return text;
}

} // namespace

Result<void> answer_by_hand(HandOutcome outcome, std::string_view range, const Batch& batch,
                            BatchFaults& faults) {
  if (range.empty()) {
    faults.fate = outcome == HandOutcome::decline ? Fate::decline : Fate::fail;
    faults.ranges.reset();
    faults.partial = 0;
    return {};
  }
  const auto index = hvtrace::whole_number(range, 0);
  if (!index || *index >= batch.submitted().size()) {
    return user_error("no range {}: the batch has {}", range, batch.submitted().size());
  }
  faults.fate = Fate::answer;
  if (!faults.ranges) {
    faults.ranges.emplace();
  }
  faults.ranges->declined.set(*index, outcome == HandOutcome::decline);
  faults.ranges->failed.set(*index, outcome == HandOutcome::fail);
  return {};
}

Result<void> delay_by_hand(std::string_view time, BatchFaults& faults) {
  const auto delay = parse_duration_ns(time);
  if (!delay || *delay > max_fault_delay_ns) {
    return user_error("{:?}: not a time of at most 10s; write milliseconds such as 0.5, or 500us, "
                      "2s",
                      time);
  }
  faults.delay_ns = *delay;
  if (faults.never_answered()) {
    faults.fate = Fate::answer;
  }
  return {};
}

std::string describe(const BatchFaults& faults) {
  std::string text;
  switch (faults.fate) {
  case Fate::drop:
  case Fate::stall:
    return "never answered";
  case Fate::decline:
    text = "declined";
    break;
  case Fate::fail:
    text = "failed";
    break;
  case Fate::answer:
    text = describe_answer(faults);
    break;
  }
  if (faults.delay_ns != 0) {
    text += fmt::format(", {} late", human_duration_ns(faults.delay_ns));
  }
  if (faults.repeat != Repeat::none) {
    text += ", twice";
  }
  if (faults.reorder) {
    text += ", after the next one";
  }
  return text;
}

} // namespace vmm
