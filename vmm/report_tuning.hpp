// SPDX-License-Identifier: MIT
// --report order=auto at work: asks the tuner when it is due and tells the guest what it says.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "vmm/auto_tuner.hpp"
#include "vmm/report_control_writer.hpp"

namespace vmm {

class ReportTuning {
 public:
  explicit ReportTuning(const AutoTuner& tuner) : tuner_(tuner) {}

  // Changes the policy that `control` holds when a step is due and order=auto is on. `observe` is
  // called only then. Any thread; whoever comes while another is at it need not wait.
  void look(std::uint64_t now_ns, ReportControlWriter& control,
            const std::function<AutoTuner::Observation()>& observe);

  // How often look() changed the policy.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

 private:
  std::mutex mutex_; // guards tuner_
  AutoTuner tuner_;
  std::atomic<std::uint64_t> changes_{0};
};

} // namespace vmm
