// SPDX-License-Identifier: MIT
// A timer that is read: how often its time has come since the last read. timerfd_create(2). It goes
// by the time alone, which is looked at when somebody asks. Pure but for Machine::now_ns.
#pragma once

#include <cstdint>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/events/nameless_file.hpp"

namespace guest::linux {

class TimerFile final : public NamelessFile {
 public:
  static constexpr std::uint64_t never = UINT64_MAX;
  struct Setting {
    std::uint64_t next_ns = never; // since boot
    std::uint64_t interval_ns = 0; // 0: once
  };
  // `epoch_ns` is what its clock shows for the program at boot. `machine` outlives this.
  TimerFile(Machine& machine, std::int64_t epoch_ns) : machine_(machine), epoch_ns_(epoch_ns) {}

  [[nodiscard]] std::int64_t epoch_ns() const { return epoch_ns_; }
  // What has come before is forgotten.
  void set(const Setting& setting);
  // `next_ns` is in the future, if it is at all.
  [[nodiscard]] Setting setting();

  // 8 bytes; EINVAL where there are fewer.
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;
  [[nodiscard]] std::uint64_t ready_at_ns() override;
  [[nodiscard]] TimerFile* timer() override { return this; }

 private:
  void look();

  Machine& machine_;
  std::int64_t epoch_ns_;
  Setting setting_;
  std::uint64_t come_ = 0; // since the last read
  std::uint64_t ever_come_ = 0;
};

} // namespace guest::linux
