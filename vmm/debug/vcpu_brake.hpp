// SPDX-License-Identifier: MIT
// Stops and starts vCPU threads for a debugger. It knows nothing of registers or KVM.
//
// A vCPU thread asks before each entry into the guest (may_enter), and waits when it may not. All
// vCPUs are held at first. Once the guest has ended nobody waits any more, and nobody is waited
// for.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"
#include "vmm/debug/debug_target.hpp"

namespace vmm {

class VcpuBrake {
 public:
  // Makes a vCPU thread call may_enter() soon, wherever it is. Called without locks, on the
  // debugger's thread, more than once if need be.
  using Kick = std::function<void(unsigned vcpu)>;

  // Environment error when the host is out of descriptors.
  static Result<std::unique_ptr<VcpuBrake>> create(unsigned vcpus, Kick kick);

  // --- vCPU threads -------------------------------------------------------------------------
  // True: the thread may enter the guest, and counts as running until it waits. False: wait().
  [[nodiscard]] bool may_enter(unsigned vcpu);
  // Counts as stopped and returns when it may go on, or the guest has ended.
  void wait(unsigned vcpu);
  // The same, after telling the debugger why the vCPU stopped. A vCPU that is held already may do
  // so too: it stops by itself at the same time.
  void report(const DebugStop& stop);
  // Notes why the vCPU, held already and about to wait, has stopped.
  void note(const DebugStop& stop);

  // --- The debugger's thread ----------------------------------------------------------------
  // Readable when a vCPU has stopped by itself.
  [[nodiscard]] int event() const { return event_.fd(); }
  // Empties the event; true if there is a stop to be told.
  [[nodiscard]] bool take_event();
  // Holds all vCPUs and returns when none is running: true. False when the guest has ended.
  [[nodiscard]] bool hold_all();
  // The earliest stop. Forgets all others but those at a guest's end. Only while all are held.
  [[nodiscard]] std::optional<DebugStop> take_stop();
  // Lets vCPUs go: those with an action other than `stay`, one for each vCPU. If one has stopped at
  // its end and was not told yet, that is told first and nobody goes: false.
  bool let_go(std::span<const VcpuResume> actions);

  // --- Any thread ---------------------------------------------------------------------------
  // The guest has ended.
  void end();

 private:
  struct Hold {
    bool held = true;
    bool running = false;
    std::optional<DebugStop> stop;
    std::uint64_t order = 0; // of stop, among all
  };

  VcpuBrake(unsigned vcpus, Kick kick, Event event)
      : kick_(std::move(kick)), event_(std::move(event)), holds_(vcpus) {}

  void note_locked(const DebugStop& stop);
  [[nodiscard]] std::vector<unsigned> running_locked() const;

  const Kick kick_;
  const Event event_;
  std::mutex mutex_;
  std::condition_variable changed_; // anyone's held or running, or ended_
  std::vector<Hold> holds_;         // guarded by mutex_
  std::uint64_t next_order_ = 0;    // guarded by mutex_
  bool ended_ = false;              // guarded by mutex_
};

} // namespace vmm
