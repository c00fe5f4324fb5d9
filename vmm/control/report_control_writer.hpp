// SPDX-License-Identifier: MIT
// Changes the reporting policy of a running guest: the host's side of abi::ReportControl.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "shared/boot_info.hpp"
#include "vmm/settings/report_changes.hpp"
#include "vmm/settings/report_settings.hpp"

namespace vmm {

// Whether the guest looks at what is written. Known from its hello on: what was written before
// that is there when it looks first.
enum class ControlReader : std::uint8_t { unknown, present, absent };

class ReportControlWriter {
 public:
  // Called with each new setting, in their order, before the guest can act on it; may not call
  // back. May be empty.
  using Observer = std::function<void(const ReportSettings&)>;

  // `control` lies in guest memory, which the guest may only read, and outlives the writer; it
  // holds `initial` already. `kick` makes idle vCPUs look; it is called after each change for a
  // reader who is present, without locks held, and may be empty.
  ReportControlWriter(abi::ReportControl& control, const ReportSettings& initial,
                      std::function<void()> kick, Observer observer = {});
  ReportControlWriter(const ReportControlWriter&) = delete;
  ReportControlWriter& operator=(const ReportControlWriter&) = delete;

  // Once, at the guest's hello. When there is no reader, nothing was changed: settings() is the
  // initial one again.
  void set_reader(ControlReader reader);

  // All of these from any thread. What is written is what was returned; nothing, when there is no
  // reader.
  [[nodiscard]] ReportSettings settings() const;
  // Since the beginning: a guest without a reader has seen none.
  [[nodiscard]] ReportChanges changes() const;
  std::optional<ReportSettings> set(const ReportSettings& settings);
  // Off if on and on if off.
  std::optional<ReportSettings> toggle();

  // Changes `settings` under the writer's lock, so that two changes at a time both count. Returns
  // false to leave everything as it was.
  using Change = std::function<bool(ReportSettings& settings)>;
  std::optional<ReportSettings> change(const Change& change);

 private:
  void write_locked();

  abi::ReportControl& control_;
  const std::function<void()> kick_;
  const Observer observer_;
  const ReportSettings initial_;
  mutable std::mutex mutex_; // guards what follows and writing to control_
  ReportSettings settings_;
  ReportChanges changes_;
  ControlReader reader_ = ControlReader::unknown;
  std::uint64_t generation_;
};

} // namespace vmm
