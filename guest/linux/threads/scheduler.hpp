// SPDX-License-Identifier: MIT
// Which thread runs. Those that are ready run in turn, each until it waits, or for a slice of time
// while others are ready. Whoever wakes a thread goes on; a call of the program is never
// interrupted by another thread but where it waits. One vCPU. Pure.
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
  // No thread is ready: until then, or until something has happened that may wake one; wakes those
  // that it can.
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
  // All outlive this. `first` runs.
  Scheduler(Machine& machine, Contexts& contexts, ThreadOwner& owner,
            std::unique_ptr<Thread> first);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  [[nodiscard]] Thread& running() const { return *running_; }
  // All that have not ended, in the order in which they were added.
  [[nodiscard]] std::span<const std::unique_ptr<Thread>> threads() const { return threads_; }
  // Null: there is none.
  [[nodiscard]] Thread* find(std::int64_t id) const;
  // Of the processor, by one of them.
  [[nodiscard]] std::uint64_t used_ns(const Thread& thread) const;

  // A new thread, which is ready.
  void add(std::unique_ptr<Thread> thread);
  // What a new one does first.
  void arrive() { ended_.clear(); }

  enum class Wakes : std::uint8_t {
    by_name,      // by wake() alone
    by_any_files, // also by wake_watchers()
  };
  // The running thread waits until it is woken, or until then.
  void wait_until_ns(std::uint64_t deadline, Wakes wakes);
  // Makes a thread ready that waits; does nothing to others.
  void wake(Thread& thread);
  // All that wait for what files do, to look again.
  void wake_watchers();
  [[nodiscard]] bool has_watchers() const { return watchers_ != 0; }
  // A thread does not run, whether it is ready or becomes so, until it is let go.
  void hold(Thread& thread);
  void release(Thread& thread);
  // The running thread, if it is held.
  void rest_if_held();
  // The others that are ready run first.
  void yield();
  // The running thread has ended; what it was goes when another runs. There is another.
  void end_running();

  // Whether others are ready.
  [[nodiscard]] bool is_shared() const { return first_ready_ != nullptr; }
  // Between calls: wakes those whose time has come, and yields when the slice is over.
  void tick();
  // When the running thread is to be interrupted for that; Machine::never.
  [[nodiscard]] std::uint64_t next_tick_ns() const;

 private:
  void make_ready(Thread& thread);
  void take_from_ready(const Thread& thread);
  [[nodiscard]] Thread* take_ready();
  // Those whose time has come.
  void wake_sleepers();
  // Looks at all of them.
  [[nodiscard]] std::uint64_t earliest_deadline_ns() const;
  // Runs whoever is next; returns when what is the running thread now runs again.
  void go_to_next();
  void run(Thread& next);

  Machine& machine_;
  Contexts& contexts_;
  ThreadOwner& owner_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<std::unique_ptr<Thread>> ended_; // one, until another thread runs
  Thread* running_;
  Thread* first_ready_ = nullptr;
  Thread* last_ready_ = nullptr;
  // No deadline is earlier; it may have passed in vain.
  std::uint64_t sleepers_until_ns_ = Machine::never;
  std::uint64_t watchers_ = 0;
  std::uint64_t runs_since_ns_;
};

} // namespace guest::linux
