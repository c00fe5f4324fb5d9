// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/scan_schedule.hpp"

namespace guest::mm {

std::optional<abi::Order> ScanSchedule::current_list(const Buddy& buddy) {
  if (state_ != State::passing) {
    state_ = State::passing;
    result_ = PassResult::took_nothing;
    list_ = buddy.report_order();
    budget_ = budget_of(buddy, list_);
  }
  while (budget_ == 0) {
    if (list_.value >= abi::max_order) {
      return std::nullopt;
    }
    ++list_.value;
    budget_ = budget_of(buddy, list_);
  }
  return list_;
}

void ScanSchedule::took_batch() {
  --budget_;
  result_ = PassResult::took_some;
}

ScanSchedule::PassResult ScanSchedule::finish(std::uint64_t now_ns) {
  const PassResult result = result_;
  reset();
  request(now_ns);
  return result;
}

} // namespace guest::mm
