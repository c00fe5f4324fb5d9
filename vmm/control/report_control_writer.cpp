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
    write_locked();
  }
  // An interrupt that the guest has not agreed to yet would be its end.
  if (reads && kick_) {
    kick_();
  }
  return changed;
}

abi::ReportPolicy under_pressure(abi::ReportPolicy policy) {
  policy.keep_bytes = 0;
  policy.delay_ns = 0;
  if (policy.strategy != abi::ReportStrategy::each) {
    policy.strategy = abi::ReportStrategy::batch;
  }
  return policy;
}

void ReportControlWriter::set_pressure(MemoryPressure pressure) {
  bool reads = false;
  {
    const std::scoped_lock lock(mutex_);
    if (pressure == pressure_) {
      return;
    }
    pressure_ = pressure;
    const std::uint64_t now_ns = monotonic_ns();
    if (pressure == MemoryPressure::high) {
      ++pressed_.times;
      pressure_since_ns_ = now_ns;
    } else {
      pressed_.ns += now_ns - pressure_since_ns_;
    }
    if (reader_ != ControlReader::absent) {
      write_locked();
    }
    reads = reader_ == ControlReader::present;
  }
  if (reads && kick_) {
    kick_();
  }
}

PressureTotals ReportControlWriter::pressure() const {
  const std::scoped_lock lock(mutex_);
  PressureTotals totals = pressed_;
  totals.now = pressure_ == MemoryPressure::high;
  totals.ns += totals.now ? monotonic_ns() - pressure_since_ns_ : 0;
  return totals;
}

ReportSettings ReportControlWriter::in_force_locked() const {
  ReportSettings settings = settings_;
  if (pressure_ == MemoryPressure::high) {
    settings.policy = under_pressure(settings.policy);
  }
  return settings;
}

// A sequence lock. Each field is stored with release after the odd generation, so a reader that
// sees a new field (with acquire) sees at least the odd generation when it looks again, and knows
// that its copy may be torn; the even one comes last and so brings all fields with it.
void ReportControlWriter::write_locked() {
  const auto store = [](auto& field, auto value) {
    std::atomic_ref(field).store(value, std::memory_order_release);
  };
  const ReportSettings in_force = in_force_locked();
  if (observer_) {
    observer_(in_force);
  }
  const abi::ReportPolicy& policy = in_force.policy;
  store(control_.generation, ++generation_);
  store(control_.policy.enabled, policy.enabled);
  store(control_.policy.order, policy.order);
  store(control_.policy.batch, policy.batch);
  store(control_.policy.strategy, policy.strategy);
  store(control_.policy.keep_bytes, policy.keep_bytes);
  store(control_.policy.delay_ns, policy.delay_ns);
  store(control_.timeout_ns, in_force.timeout_ns);
  store(control_.generation, ++generation_);
}

} // namespace vmm
