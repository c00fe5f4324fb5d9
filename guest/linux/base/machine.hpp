// SPDX-License-Identifier: MIT
// What a program's calls need of the machine, beside memory (frames.hpp) and files (file_port.hpp).
#pragma once

#include <cstdint>

#include "guest/linux/base/signal_set.hpp"

namespace guest::linux {

class Machine {
 public:
  [[nodiscard]] virtual std::uint64_t now_ns() = 0; // since boot
  static constexpr std::uint64_t never = UINT64_MAX;
  // Until then, or until a signal comes from outside, or a file that is watched is ready: whether
  // it was one of those. Files are told once, so that whoever waits by them must look.
  [[nodiscard]] virtual bool sleep_until_ns(std::uint64_t deadline) = 0;
  // Whether a file that is watched has become ready since this was asked last; the program's own
  // code has been interrupted then.
  [[nodiscard]] virtual bool take_ready_files() = 0;
  // Has the program's own code interrupted then; never: no longer. True when that was set anew: a
  // signal or file that came before may not interrupt it any more, and is to be looked for.
  [[nodiscard]] virtual bool set_alarm_ns(std::uint64_t deadline) = 0;
  // Signals that have come from outside, which are the program's now.
  [[nodiscard]] virtual SignalSet take_signals() = 0;
  // Tells the outside which signals are not to end the program.
  virtual void set_handled_signals(SignalSet signals) = 0;
  virtual void set_thread_pointer(std::uint64_t address) = 0;
  [[nodiscard]] virtual std::uint64_t ram_bytes() const = 0;
  [[nodiscard]] virtual unsigned vcpus() const = 0;
  // Of several vCPUs one is in the kernel at a time: which. Another may be there after a sleep.
  [[nodiscard]] virtual unsigned vcpu() const { return 0; }
  // Has another vCPU come into the kernel: out of the program's code, or a sleep.
  virtual void call(unsigned /*vcpu*/) {}
  // None of the others runs the program's code when this returns, nor will before this one leaves
  // the kernel; by then it has forgotten what it had read of page tables and code.
  virtual void stop_others() {}
  [[noreturn]] virtual void exit(std::uint8_t status) = 0;

 protected:
  Machine() = default;
  ~Machine() = default;
};

} // namespace guest::linux
