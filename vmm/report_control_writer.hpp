// SPDX-License-Identifier: MIT
// Changes the reporting policy of a running guest: the host's side of abi::ReportControl.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

#include "shared/boot_info.hpp"
#include "vmm/report_settings.hpp"

namespace vmm {

class ReportControlWriter {
 public:
  // `control` lies in guest memory, which the guest may only read, and outlives the writer; it
  // holds `initial` already. `kick` makes idle vCPUs look; it is called after each change, without
  // locks held, and may be empty.
  ReportControlWriter(abi::ReportControl& control, const ReportSettings& initial,
                      std::function<void()> kick);
  ReportControlWriter(const ReportControlWriter&) = delete;
  ReportControlWriter& operator=(const ReportControlWriter&) = delete;

  // Before the first change. Called with each new setting, in their order, before the guest can act
  // on it; may not call back.
  using Observer = std::function<void(const ReportSettings&)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  // All of these from any thread. What is written is what was returned.
  [[nodiscard]] ReportSettings settings() const;
  void set(const ReportSettings& settings);
  ReportSettings set_enabled(bool enabled);
  // Off if on and on if off.
  ReportSettings toggle();

  // Changes `settings` under the writer's lock, so that two changes at a time both count. Returns
  // false to leave everything as it was.
  using Change = std::function<bool(ReportSettings& settings)>;
  ReportSettings change(const Change& change);

 private:
  void write_locked();

  abi::ReportControl& control_;
  const std::function<void()> kick_;
  Observer observer_;
  mutable std::mutex mutex_; // guards settings_, generation_ and writing to control_
  ReportSettings settings_;
  std::uint64_t generation_;
};

} // namespace vmm
