// SPDX-License-Identifier: MIT
// A machine of a hosted program's whose time passes only in sleeps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include "guest/linux/base/machine.hpp"

namespace test_support {

// A program's end, thrown.
struct ProgramEnd {
  std::uint8_t status = 0;
};

class StillMachine final : public guest::linux::Machine {
 public:
  [[nodiscard]] std::uint64_t now_ns() override { return now; }
  [[nodiscard]] bool sleep_until_ns(std::uint64_t deadline) override {
    if (deadline != never) {
      now = std::max(now, deadline);
    }
    if (files_ready_behind_sleep) {
      std::exchange(files_ready_behind_sleep, nullptr)();
      return true;
    }
    if (deadline == never) {
      throw ProgramEnd{255}; // nothing will ever come
    }
    return false;
  }
  [[nodiscard]] bool take_ready_files() override { return std::exchange(files_ready, false); }
  [[nodiscard]] bool set_alarm_ns(std::uint64_t deadline) override {
    const bool anew = std::exchange(alarm, deadline) != deadline;
    if (anew) {
      files_ready |= std::exchange(files_ready_at_alarm, false);
      signals |= std::exchange(signals_at_alarm, guest::linux::SignalSet{0});
    }
    return anew;
  }
  [[nodiscard]] guest::linux::SignalSet take_signals() override {
    return std::exchange(signals, guest::linux::SignalSet{0});
  }
  void set_handled_signals(guest::linux::SignalSet set) override { handled = set; }
  void set_thread_pointer(std::uint64_t address) override { thread_pointer = address; }
  [[nodiscard]] std::uint64_t ram_bytes() const override { return std::uint64_t{64} << 20; }
  [[nodiscard]] unsigned vcpus() const override { return 1; }
  void stop_others() override { ++stops; }
  [[noreturn]] void exit(std::uint8_t status) override { throw ProgramEnd{status}; }

  std::uint64_t now = 1'000'000'000;
  std::uint64_t alarm = never;
  std::uint64_t stops = 0;
  bool files_ready = false;
  // Makes them ready as the time of the next sleep is over.
  std::function<void()> files_ready_behind_sleep;
  // What comes while the alarm is next set anew.
  bool files_ready_at_alarm = false;
  guest::linux::SignalSet signals_at_alarm = 0;
  guest::linux::SignalSet signals = 0;
  guest::linux::SignalSet handled = 0;
  std::uint64_t thread_pointer = 0;
};

} // namespace test_support
