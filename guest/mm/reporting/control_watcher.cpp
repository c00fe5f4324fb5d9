// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/control_watcher.hpp"

namespace guest::mm {

namespace {

constexpr unsigned max_attempts = 3;

// Acquire for every field, so that no look at the generation that follows in the program can come
// before it; a plain load on x86. (atomic_ref does not take a const object before C++26.)
template <typename Field> Field load(const Field& field) {
  Field value;
  __atomic_load(&field, &value, __ATOMIC_ACQUIRE);
  return value;
}

} // namespace

std::optional<ReportSettings> ControlWatcher::read() {
  if (control_ == nullptr) {
    return std::nullopt;
  }
  for (unsigned attempt = 0; attempt < max_attempts; ++attempt) {
    const std::uint64_t before = load(control_->generation);
    if (before == seen_generation_) {
      return std::nullopt;
    }
    if (before % 2 != 0) {
      continue; // the host is writing
    }
    const abi::ReportPolicy& policy = control_->policy;
    const ReportSettings copy{.policy = {.enabled = load(policy.enabled),
                                         .order = load(policy.order),
                                         .batch = load(policy.batch),
                                         .strategy = load(policy.strategy),
                                         .keep_bytes = load(policy.keep_bytes),
                                         .delay_ns = load(policy.delay_ns)},
                              .timeout_ns = load(control_->timeout_ns)};
    if (load(control_->generation) == before) {
      seen_generation_ = before;
      return copy;
    }
  }
  return std::nullopt;
}

} // namespace guest::mm
