// SPDX-License-Identifier: MIT
#include "vmm/hints/adversary/fault_plan.hpp"

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

} // namespace

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
