// SPDX-License-Identifier: MIT
#include "vmm/report_tuning.hpp"

namespace vmm {

void ReportTuning::look(std::uint64_t now_ns, ReportControlWriter& control,
                        const std::function<AutoTuner::Observation()>& observe) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || !tuner_.due(now_ns) || !control.settings().automatic) {
    return;
  }
  const abi::ReportPolicy current = control.settings().policy;
  std::optional<abi::ReportPolicy> policy = tuner_.step(observe(), current);
  if (current.strategy != abi::ReportStrategy::decay) {
    policy = tuner_.first(current); // it was asked for while the guest ran
  }
  if (!policy) {
    return;
  }
  bool taken = false;
  const auto written = control.change([&](ReportSettings& settings) {
    settings.policy.strategy = policy->strategy;
    settings.policy.order = policy->order;
    settings.policy.batch = policy->batch;
    settings.policy.delay_ns = policy->delay_ns;
    taken = settings.automatic; // unless a user has taken over since
    return taken;
  });
  changes_ += written && taken ? 1 : 0;
}

} // namespace vmm
