// SPDX-License-Identifier: MIT
#include "vmm/hints/fault_plan.hpp"

#include <limits>
#include <string>

#include "vmm/base/option_values.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

// What a draw is for; draws for different purposes are independent.
enum class Draw : std::uint8_t { drop, fail, decline, duplicate, repeat_later, ranges };

// splitmix64's finaliser: every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// From 0 inclusive to 1 exclusive.
double unit(std::uint64_t hash) {
  return static_cast<double>(hash >> 11) * 0x1p-53;
}

// Takes one item of --host-fault into `faults`.
Result<void> take_item(std::string_view item, FaultOptions& faults) {
  const std::string_view key = key_of(item);
  if (key == "reorder") {
    if (item != key) {
      return user_error("--host-fault {:?}: reorder takes no value", item);
    }
    faults.reorder = true;
    return {};
  }
  if (key.size() == item.size()) {
    return user_error("--host-fault {:?}: must be any of delay=TIME, drop=, duplicate=, partial=, "
                      "decline=, fail= (fractions), reorder, stall-after=N separated by commas",
                      item);
  }
  const std::string_view value = item.substr(key.size() + 1);
  const std::string name = fmt::format("--host-fault {}", key);
  if (key == "delay") {
    const auto delay = parse_duration_ns(value);
    if (!delay || *delay > max_fault_delay_ns) {
      return user_error("{} {:?}: must be a time of at most 10s; write milliseconds such as 0.5, "
                        "or 500us, 2s",
                        name, value);
    }
    faults.delay_ns = *delay;
    return {};
  }
  if (key == "stall-after") {
    EBB_TRY_ASSIGN(batches,
                   number_within(name, value, 0, std::numeric_limits<std::uint64_t>::max()));
    faults.stall_after = batches;
    return {};
  }
  double* const rate = key == "drop"        ? &faults.drop
                       : key == "duplicate" ? &faults.duplicate
                       : key == "partial"   ? &faults.partial
                       : key == "decline"   ? &faults.decline
                       : key == "fail"      ? &faults.fail
                                            : nullptr;
  if (rate == nullptr) {
    return user_error("--host-fault {:?}: no such key; there are delay, drop, duplicate, partial, "
                      "decline, fail, reorder and stall-after",
                      key);
  }
  EBB_TRY_ASSIGN(fraction, fraction_of_one(name, value));
  *rate = fraction;
  return {};
}

} // namespace

Result<FaultOptions> parse_fault_options(std::string_view text) {
  FaultOptions faults;
  EBB_TRY(for_each_item("--host-fault", text,
                        [&](std::string_view item) { return take_item(item, faults); }));
  return faults;
}

bool BatchFaults::declines_range(std::uint32_t range) const {
  return (ranges && ranges->declined.test(range)) || unit(mix(range_seed + range)) < partial;
}

BatchFaults FaultPlan::decide(unsigned channel, std::uint64_t number) const {
  BatchFaults faults;
  if (!any()) {
    return faults;
  }
  const std::uint64_t batch = mix(mix(mix(seed_) ^ channel) ^ number);
  const auto draw = [batch](Draw purpose) {
    return mix(batch ^ mix(static_cast<std::uint64_t>(purpose)));
  };
  const auto happens = [&](Draw purpose, double rate) { return unit(draw(purpose)) < rate; };

  if (options_.stall_after && number >= *options_.stall_after) {
    faults.fate = Fate::stall;
  } else if (happens(Draw::drop, options_.drop)) {
    faults.fate = Fate::drop;
  } else if (happens(Draw::fail, options_.fail)) {
    faults.fate = Fate::fail;
  } else if (happens(Draw::decline, options_.decline)) {
    faults.fate = Fate::decline;
  }
  if (happens(Draw::duplicate, options_.duplicate)) {
    faults.repeat = (draw(Draw::repeat_later) & 1U) != 0 ? Repeat::later : Repeat::at_once;
  }
  faults.reorder = options_.reorder && number % 2 == 0;
  faults.delay_ns = options_.delay_ns;
  faults.partial = options_.partial;
  faults.range_seed = draw(Draw::ranges);
  return faults;
}

} // namespace vmm
