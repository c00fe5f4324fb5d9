// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/cooling.hpp"

#include <algorithm>

namespace guest::mm {

namespace {

// 2^-x for 0 <= x < 1, within 0.2 %: there is no library of mathematics here.
double halved(double x) {
  constexpr double ln2 = 0.693147180559945;
  const double y = x * ln2;
  return 1 - y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4)));
}

} // namespace

double Cooling::part_left(std::uint64_t passed_ns, std::uint64_t half_life_ns) {
  const std::uint64_t halvings = passed_ns / half_life_ns;
  if (halvings >= 64) {
    return 0;
  }
  return halved(static_cast<double>(passed_ns % half_life_ns) / static_cast<double>(half_life_ns)) /
         static_cast<double>(std::uint64_t{1} << halvings);
}

void Cooling::reset(std::uint64_t half_life_ns) {
  *this = {};
  half_life_ns_ = half_life_ns;
}

void Cooling::note(std::uint64_t now_ns, std::uint64_t frames) {
  if (!on()) {
    return;
  }
  if (now_ns > noted_ns_) {
    const std::uint64_t hold = now_ns / std::max(half_life_ns_ / holds, std::uint64_t{1});
    if (hold != hold_) {
      // Since the last note nothing has changed.
      least_before_ = hold == hold_ + 1 ? least_ : frames_;
      least_ = frames_;
      hold_ = hold;
    }
    warm_ *= part_left(now_ns - noted_ns_, half_life_ns_);
    noted_ns_ = now_ns;
  }
  warm_ += static_cast<double>(frames) - static_cast<double>(frames_);
  frames_ = frames;
  least_ = std::min(least_, frames);
  const std::uint64_t held = frames - std::min(least_, least_before_);
  warm_ = std::min(std::max(warm_ < crumbs_frames ? 0 : warm_, static_cast<double>(held)),
                   static_cast<double>(frames));
}

void Cooling::took(std::uint64_t frames) {
  for (std::uint64_t* count : {&frames_, &least_, &least_before_}) {
    *count -= std::min(*count, frames);
  }
}

std::uint64_t Cooling::next_look_ns() const {
  if (warm_ == 0 || half_life_ns_ == never) {
    return never;
  }
  const std::uint64_t step_ns = std::max(half_life_ns_ / looks, std::uint64_t{1});
  return noted_ns_ < never - step_ns ? noted_ns_ + step_ns : never;
}

} // namespace guest::mm
