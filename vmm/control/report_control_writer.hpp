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

// Whether the host's memory is short.
enum class MemoryPressure : std::uint8_t { none, high };

// What is in force under pressure: no reserve, no delay, and no strategy that holds free memory
// back; whether, and from which order up, anything is reported stays.
[[nodiscard]] abi::ReportPolicy under_pressure(abi::ReportPolicy policy);

// How often and for how long pressure has lasted.
struct PressureTotals {
  std::uint64_t times = 0;
  std::uint64_t ns = 0;
  bool now = false;
};

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

  // What was asked for stays, and what is asked for meanwhile counts once pressure is over.
  void set_pressure(MemoryPressure pressure);
  [[nodiscard]] PressureTotals pressure() const;

  // Changes `settings` under the writer's lock, so that two changes at a time both count. Returns
  // false to leave everything as it was.
  using Change = std::function<bool(ReportSettings& settings)>;
  std::optional<ReportSettings> change(const Change& change);

 private:
  // What the guest is to go by.
  [[nodiscard]] ReportSettings in_force_locked() const;
  void write_locked();

  abi::ReportControl& control_;
  const std::function<void()> kick_;
  const Observer observer_;
  const ReportSettings initial_;
  mutable std::mutex mutex_; // guards what follows and writing to control_
  ReportSettings settings_;
  ReportChanges changes_;
  MemoryPressure pressure_ = MemoryPressure::none;
  PressureTotals pressed_; // before pressure_since_ns_, if that lasts
  std::uint64_t pressure_since_ns_ = 0;
  ControlReader reader_ = ControlReader::unknown;
  std::uint64_t generation_;
};

} // namespace vmm
