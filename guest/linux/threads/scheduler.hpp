// SPDX-License-Identifier: MIT
// Which threads run, one on each vCPU. Those that are ready run in turn, each until it waits, or
// for a slice of time while others are ready and have no vCPU. Whoever wakes a thread goes on; a
// call of the program is never interrupted by another thread but where it waits: one vCPU at a time
// is here (kernel_lock.hpp), and says so by note_vcpu().
//
//   ready queue --hand_out()--> a vCPU that rests and is called --run()--> runs
//               \--------------- or whoever is next to take one ---/
//
// Threads on different vCPUs are of one process: there is one address space. A vCPU that rests does
// so on the stack of the thread that ran there last, which no other can run until then. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/threads/thread.hpp"

namespace guest::linux {

// Who has the threads.
class ThreadOwner {
 public:
  // No thread is ready for this vCPU: until then, or until something has happened that may wake
  // one; wakes those that it can.
  virtual void idle_until_ns(std::uint64_t deadline) = 0;
  // A thread goes on, instead of another that may be of another process.
  virtual void enter(const Thread& next) = 0;
  // How long a thread runs while others are ready.
  [[nodiscard]] virtual std::uint64_t slice_ns() const = 0;

 protected:
  ThreadOwner() = default;
  ~ThreadOwner() = default;
};

class Scheduler {
 public:
  // All outlive this. `first` runs, on the calling vCPU.
  Scheduler(Machine& machine, Contexts& contexts, ThreadOwner& owner,
            std::unique_ptr<Thread> first);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Which vCPU is in the kernel now; behind each way into it, sleeps included.
  void note_vcpu(unsigned vcpu) { here_ = &vcpus_[vcpu]; }
  // The life of every other vCPU, on a stack of its own: runs what is ready.
  [[noreturn]] void serve();

  // On this vCPU; while nobody does, the one that ran last, which may have ended.
  [[nodiscard]] Thread& running() const { return *here_->running; }
  [[nodiscard]] bool has_run_here() const { return here_->running != nullptr; }
  // Whether a vCPU is on the stack of a thread of that process, be it that it only rests there.
  [[nodiscard]] bool is_anywhere(const Process& process) const;
  // How many run its threads; at least 1.
  [[nodiscard]] unsigned vcpus_of(const Process& process) const;
  // All that have not ended, in the order in which they were added.
  [[nodiscard]] std::span<const std::unique_ptr<Thread>> threads() const { return threads_; }
  // Null: there is none.
  [[nodiscard]] Thread* find(std::int64_t id) const;
  // Of the processor, by one of them.
  [[nodiscard]] std::uint64_t used_ns(const Thread& thread) const;

  // A new thread, which is ready.
  void add(std::unique_ptr<Thread> thread);
  // What a new one does first.
  void arrive() { here_->ended.clear(); }

  enum class Wakes : std::uint8_t {
    by_name,      // by wake() alone
    by_any_files, // also by wake_watchers()
  };
  // The running thread waits until it is woken, or until then.
  void wait_until_ns(std::uint64_t deadline, Wakes wakes);
  // Makes a thread ready that waits; one that runs on another vCPU comes into the kernel.
  void wake(Thread& thread);
  // All that wait for what files do, to look again.
  void wake_watchers();
  [[nodiscard]] bool has_watchers() const { return watchers_ != 0; }
  // A thread does not run, whether it is ready or becomes so, until it is let go. One that runs on
  // another vCPU rests when it gets here.
  void hold(Thread& thread);
  void release(Thread& thread);
  // The running thread, if it is held.
  void rest_if_held();
  // The others that are ready run first.
  void yield();
  // The running thread has ended; what it was goes when another runs. There is another.
  void end_running();

  // Whether others are ready that no vCPU takes at once.
  [[nodiscard]] bool is_shared() const { return first_ready_ != nullptr; }
  // Between calls, where wants_tick(): wakes those whose time has come, and yields when the slice
  // is over.
  void tick();
  [[nodiscard]] bool wants_tick() const {
    return running().is_held || next_tick_ns() != Machine::never;
  }
  // When the running thread is to be interrupted for that; Machine::never.
  [[nodiscard]] std::uint64_t next_tick_ns() const;

 private:
  struct Vcpu {
    unsigned index = 0;
    Thread* running = nullptr;  // or was the last to; on its stack the vCPU rests
    bool rests = false;         // nobody runs
    Thread* assigned = nullptr; // is to run next, and in no queue
    std::uint64_t runs_since_ns = 0;
    std::vector<std::unique_ptr<Thread>> ended; // one, until another thread runs
    std::unique_ptr<Context> home;              // where it was before its first thread
  };

  void make_ready(Thread& thread);
  void enqueue(Thread& thread);
  void take_from_ready(const Thread& thread);
  // Behind `before` in the queue; null: the first.
  void unlink(Thread* before, const Thread& thread);
  // Threads that are ready go to vCPUs that rest, this one first.
  void hand_out();
  // Whether a thread that may not run lets nobody behind it run, either.
  [[nodiscard]] bool blocks_queue(const Thread& thread) const;
  void give(Vcpu& vcpu, Thread& thread);
  // Whether it may run there while the other vCPUs do what they do.
  [[nodiscard]] bool may_run(const Thread& thread, const Vcpu& there) const;
  // For this vCPU: what it was given, else the first in the queue that may run here, else what
  // another was given and has not begun. Null: nobody.
  [[nodiscard]] Thread* take_ready();
  [[nodiscard]] Thread* take_from_queue();
  [[nodiscard]] Thread* take_from_others();
  // Those whose time has come.
  void wake_sleepers();
  // Looks at all of them.
  [[nodiscard]] std::uint64_t earliest_deadline_ns() const;
  // Others run beyond their slices while threads wait for a vCPU. When the next does.
  std::uint64_t call_overdue();
  // Runs whoever is next; returns when what is the running thread now runs again.
  void go_to_next();
  void run(Thread& next);

  Machine& machine_;
  Contexts& contexts_;
  ThreadOwner& owner_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Vcpu> vcpus_;
  Vcpu* here_;
  Thread* first_ready_ = nullptr;
  Thread* last_ready_ = nullptr;
  // No deadline is earlier; it may have passed in vain.
  std::uint64_t sleepers_until_ns_ = Machine::never;
  std::uint64_t watchers_ = 0;
};

} // namespace guest::linux
