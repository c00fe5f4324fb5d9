// SPDX-License-Identifier: MIT
// Notices that the host wants another reporting policy (abi::ReportControl, a seqlock that the host
// writes), and copies it. Never waits for the host: a copy that does not succeed in a few attempts
// is left for the next look. Not thread-safe: its user holds a lock.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/mm/reporting/report_settings.hpp"
#include "shared/boot_info.hpp"

namespace guest::mm {

class ControlWatcher {
 public:
  // `control` may be null: nothing ever changes then. Generation 0 is what the guest booted with.
  explicit ControlWatcher(const abi::ReportControl* control) : control_(control) {}

  // One relaxed load; for slow paths. May say yes while there is no complete copy to have yet.
  [[nodiscard]] bool changed() const {
    return control_ != nullptr &&
           __atomic_load_n(&control_->generation, __ATOMIC_RELAXED) != seen_generation_;
  }

  // The settings, once per change; nothing when the host was writing all the time.
  [[nodiscard]] std::optional<ReportSettings> read();

 private:
  const abi::ReportControl* control_;
  std::uint64_t seen_generation_ = 0;
};

} // namespace guest::mm
