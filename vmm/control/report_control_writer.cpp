// SPDX-License-Identifier: MIT
#include "vmm/control/report_control_writer.hpp"

#include <atomic>
#include <utility>

#include "vmm/base/clock.hpp"

namespace vmm {

ReportControlWriter::ReportControlWriter(abi::ReportControl& control, const ReportSettings& initial,
                                         std::function<void()> kick, Observer observer)
    : control_(control), kick_(std::move(kick)), observer_(std::move(observer)), initial_(initial),
      settings_(initial),
      generation_(std::atomic_ref(control.generation).load(std::memory_order_relaxed)) {}

ReportSettings ReportControlWriter::settings() const {
  const std::scoped_lock lock(mutex_);
  return settings_;
}

ReportChanges ReportControlWriter::changes() const {
  const std::scoped_lock lock(mutex_);
  return changes_;
}

void ReportControlWriter::set_reader(ControlReader reader) {
  const std::scoped_lock lock(mutex_);
  reader_ = reader;
  if (reader == ControlReader::absent) {
    settings_ = initial_;
    changes_ = {};
    if (observer_) {
      observer_(settings_);
    }
  }
}

std::optional<ReportSettings> ReportControlWriter::set(const ReportSettings& settings) {
  return change([&settings](ReportSettings& current) {
    current = settings;
    return true;
  });
}

std::optional<ReportSettings> ReportControlWriter::toggle() {
  return change([](ReportSettings& current) {
    current.policy.enabled = current.policy.enabled == 0 ? 1 : 0;
    return true;
  });
}

std::optional<ReportSettings> ReportControlWriter::change(const Change& change) {
  ReportSettings changed;
  bool reads = false;
  {
    const std::scoped_lock lock(mutex_);
    if (reader_ == ControlReader::absent) {
      return std::nullopt;
    }
    reads = reader_ == ControlReader::present;
    changed = settings_;
    if (!change(changed)) {
      return settings_;
    }
    settings_ = changed;
    changes_.add({monotonic_ns(), changed});
    if (observer_) {
      observer_(settings_);
    }
    write_locked();
  }
  // An interrupt that the guest has not agreed to yet would be its end.
  if (reads && kick_) {
    kick_();
  }
  return changed;
}

// A sequence lock. Each field is stored with release after the odd generation, so a reader that
// sees a new field (with acquire) sees at least the odd generation when it looks again, and knows
// that its copy may be torn; the even one comes last and so brings all fields with it.
void ReportControlWriter::write_locked() {
  const auto store = [](auto& field, auto value) {
    std::atomic_ref(field).store(value, std::memory_order_release);
  };
  const abi::ReportPolicy& policy = settings_.policy;
  store(control_.generation, ++generation_);
  store(control_.policy.enabled, policy.enabled);
  store(control_.policy.order, policy.order);
  store(control_.policy.batch, policy.batch);
  store(control_.policy.strategy, policy.strategy);
  store(control_.policy.keep_bytes, policy.keep_bytes);
  store(control_.policy.delay_ns, policy.delay_ns);
  store(control_.timeout_ns, settings_.timeout_ns);
  store(control_.generation, ++generation_);
}

} // namespace vmm
