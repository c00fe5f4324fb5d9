// SPDX-License-Identifier: MIT
// What calls of several subjects do on their way: reach files, wait, send signals, end. Each part
// is in a support_*.cpp.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "guest/linux/process/system_state.hpp"
#include "guest/linux/signals/waiting_signals.hpp"

namespace guest::linux {

class CallSupport : protected SystemState, protected WaitingSignals {
 public:
  using SystemState::SystemState;

 protected:
  ~CallSupport() = default;

  // A call, or what is wanted of one, that there is not: ENOSYS, and told at the end.
  [[nodiscard]] Answer missing(std::uint64_t call) {
    start_.missing[call / 64] |= std::uint64_t{1} << (call % 64);
    return -ENOSYS;
  }

  // ---- files: support_files.cpp
  using Place = FileTree::Place;
  using Last = FileTree::Last;
  [[nodiscard]] OpenFile* file_at(std::uint64_t descriptor) const {
    return self().files.get(descriptor & 0xffffffff);
  }
  // One that is there still when the call has waited for another file.
  [[nodiscard]] OpenFile* held_file_at(std::uint64_t descriptor);
  // Where a directory's descriptor and a path lead. `here` is the working directory, as a program's
  // register has it.
  static constexpr auto here = static_cast<std::uint64_t>(AT_FDCWD);
  [[nodiscard]] Or<Place> walk(std::uint64_t directory, std::string_view path, Last last);
  [[nodiscard]] Or<Place> place_at(std::uint64_t directory, std::uint64_t path, Last last);
  // What `flags` make of a place.
  [[nodiscard]] Or<File*> open_place(const Place& place, std::uint64_t flags, std::uint32_t mode);
  // Takes over the file; its descriptor, at last: a pipe with a name is waited for.
  [[nodiscard]] Answer add_file(File* file, std::uint64_t flags, Text path);
  // Takes over both, and tells their descriptors at `address`.
  [[nodiscard]] Answer add_two(File* one, File* other, std::uint64_t flags,
                               std::uint64_t other_flags, std::uint64_t address);
  // At an offset, or where the program is in the file, which moves it.
  using Offset = std::optional<std::uint64_t>;
  // Whose memory bytes are in: the program's may be unmapped by another thread while a call waits.
  enum class BytesOf : std::uint8_t { program, kernel };
  // No: they have been unmapped meanwhile (EFAULT).
  [[nodiscard]] bool are_there(std::span<const std::byte> bytes, BytesOf whose) const;
  [[nodiscard]] Answer write_bytes(OpenFile& file, std::span<const std::byte> from, Offset offset,
                                   BytesOf whose);
  // The signal that a program gets beside that error of a stream.
  void signal_failed_write(const OpenFile& to, int error);

  // ---- waiting: support_waiting.cpp
  // Whether the thread is to go on elsewhere than behind its call, and waits for nothing any more.
  [[nodiscard]] bool is_diverted() const {
    const Thread& thread = scheduler_.running();
    return thread.signals.due() || thread.handler_returns || thread.is_to_end ||
           self().follower.has_value();
  }
  // Whether there is no other thread of the process; and of any.
  [[nodiscard]] bool is_alone() const;
  [[nodiscard]] bool is_only_thread() const { return scheduler_.threads().size() == 1; }
  // Whether something could end a wait that has no other end.
  [[nodiscard]] bool may_be_interrupted() const { return may_be_interrupted(self()); }
  [[nodiscard]] static bool may_be_interrupted(const Process& process) {
    return process.actions.has_handlers() || process.timers.any_set();
  }
  // Until then, or until something happens.
  void rest_until(std::uint64_t deadline_ns, Scheduler::Wakes wakes = Scheduler::Wakes::by_name) {
    scheduler_.wait_until_ns(deadline_ns, wakes);
  }
  // Waits until a stream is ready for `wanted`, or for so long. 0; EDEADLK when it would never be;
  // `restart` for a signal.
  [[nodiscard]] Answer wait_for_stream(const OpenFile& file, Readiness wanted,
                                       std::uint64_t timeout_ns);
  // Of a timespec's address; none for a null pointer. EFAULT, EINVAL.
  [[nodiscard]] Or<std::uint64_t> timeout_at(std::uint64_t address) const;
  // That clock by which timers go, and what it shows when it shows 0 for them; EINVAL.
  struct TimerClock {
    Timers::Clock clock = Timers::Clock::elapsed;
    std::int64_t epoch_ns = 0;
  };
  [[nodiscard]] Or<TimerClock> timer_clock(std::uint64_t clock) const;
  // Has the program interrupted when a timer runs out or another thread is to run; as
  // Machine::set_alarm_ns.
  [[nodiscard]] bool arm_alarm();

  // ---- signals: support_signals.cpp
  // Those that are the program's to handle when they come, or to end by.
  [[nodiscard]] SignalSet handled_signals() const;
  // While a call waits, other signals are blocked: the set of `bytes` at `address`, if there is
  // one. 0, EFAULT, EINVAL.
  [[nodiscard]] int suspend_signals(std::uint64_t address, std::uint64_t bytes);
  // Behind that call.
  void end_suspension();
  [[nodiscard]] SignalCause cause_of(std::uint64_t signal, std::int32_t code) const;
  // Those from outside, and of timers that have run out. Whether any came from outside.
  bool receive_signals();
  // To a thread, or to whichever takes it.
  void send(Thread& thread, const SignalCause& cause);
  void send_to_any(Process& process, const SignalCause& cause);
  void send_to_each(std::vector<Process*> targets, const SignalCause& cause);
  // Does to the process what a signal does. From a stop it comes back when the process goes on.
  void suffer(Process& process, SignalEffect effect, std::uint64_t signal);
  // Of a timer's signal, which the program gets.
  void count_overruns(SignalCause& cause);
  [[nodiscard]] std::optional<SignalCause> accept_signal(SignalSet wanted) override;

  // ---- processes: support_processes.cpp
  // Null: there is none of that number, or it has ended.
  [[nodiscard]] Process* find_process(std::int64_t id) const;
  // A thread of the running process, as scheduler_.find().
  [[nodiscard]] Thread* find_thread(std::int64_t id) const;
  // Calls visit(thread) for each thread of a process.
  template <typename Visit> void for_each_thread(const Process& process, Visit visit) const {
    for (const auto& thread : scheduler_.threads()) {
      if (thread->process == &process) {
        visit(*thread);
      }
    }
  }
  // Those that have not ended of which is_meant(process).
  template <typename IsMeant>
  [[nodiscard]] std::vector<Process*> processes_that(IsMeant is_meant) const {
    std::vector<Process*> found;
    for (const auto& process : processes_) {
      if (!process->wait_status && is_meant(*process)) {
        found.push_back(process.get());
      }
    }
    return found;
  }
  // Of the processor, by all of its threads.
  [[nodiscard]] std::uint64_t used_ns(const Process& process) const;
  [[nodiscard]] Timers::Now now_of(const Process& process) const {
    return {.elapsed_ns = machine_.now_ns(),
            .used_ns = used_ns(process),
            .processors = scheduler_.vcpus_of(process)};
  }
  [[nodiscard]] Timers::Now now() const { return now_of(self()); }
  // What tells waiters at an address of the program's from those of others (futexes.hpp): shared
  // memory is the same place for all who have it.
  [[nodiscard]] std::uint64_t waiting_place(std::uint64_t address) const;
  // From now on it has memory of its own, in which nothing is; what it had goes back unless another
  // has it, too.
  void renew_memory(Process& process);
  // Those that have ended and were waited for are no more, but for the one that runs.
  void forget_ended(const Process& runs);
  // Whoever has made the process by vfork goes on.
  void release_maker(Process& process);
  // The running thread's process, which is not the first, has ended: its parent is told what
  // wait(2) has for that.
  [[noreturn]] void end_process(int wait_status);
  // Another process, which is not the first, ends as soon as its threads find out.
  void kill_process(Process& process, int wait_status);

  // ---- the end: support_end.cpp
  // Of the running thread's process; of the guest, if that is the first.
  [[noreturn]] void end(std::uint8_t status);
  [[noreturn]] void end_by_signal(Process& process, std::uint64_t signal);
  // What the program has written goes where it belongs. The exit status to end with.
  [[nodiscard]] std::uint8_t leave(std::uint8_t status);
  // Of the running thread, which is not alone.
  [[noreturn]] void end_thread();
  // The others end; no, if the running one is to end, too.
  [[nodiscard]] bool end_others();
  static constexpr std::uint64_t robust_list_bytes = 24; // struct robust_list_head

 private:
  void idle_until_ns(std::uint64_t deadline) override;
  [[nodiscard]] bool sleep_until_ns(std::uint64_t deadline); // as the machine does
  void enter(const Thread& next) override;
  [[nodiscard]] std::uint64_t slice_ns() const override;
  void receive_timers(Process& process);
  void tell_parent(Process& process);
  [[nodiscard]] bool any_timers() const;
  [[nodiscard]] SignalSet waiting_signals() const override { return signals().waiting(); }
  [[nodiscard]] std::uint64_t signal_arrivals() const override { return signals().arrivals(); }

  [[nodiscard]] Answer meet_other_end(const OpenFile& pipe);
  [[nodiscard]] Answer write_stream(const OpenFile& file, std::span<const std::byte> from,
                                    BytesOf whose);
  void complain(std::string_view path, int error);

  // ---- stopping: support_stopping.cpp
  // The guest as a whole, if it is the first.
  void stop(Process& process, std::uint64_t signal);
  void stop_guest();
  void go_on_if_stopped(Process& process);
  // Its threads may run again.
  void release(const Process& process);
  // What comes of a signal before it is looked whether anybody wants it.
  void begin_to_send(Process& process, std::uint64_t signal);
  // Whether a signal has to wait until the process goes on.
  [[nodiscard]] static bool waits_for_continuation(const Process& process, std::uint64_t signal,
                                                   SignalEffect effect) {
    return process.is_stopped && signal != SIGKILL && effect == SignalEffect::end;
  }
  void tell_parent_of_change(const Process& process, std::int32_t code, std::uint64_t signal);
  void wake_for_children(const Process& parent);

  // Who waits for its end, or for what it has locked, is told.
  void tell_end_of(Thread& thread);
  // A lock that the thread holds is nobody's any more.
  void abandon_lock(const Thread& thread, std::uint64_t address, bool has_priorities);
  void abandon_locks(const Thread& thread);
};

} // namespace guest::linux
