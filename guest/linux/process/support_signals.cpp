// SPDX-License-Identifier: MIT
// How signals come to the program and its threads, and what calls that wait do with them.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <vector>

#include "guest/linux/process/call_support.hpp"

namespace guest::linux {

// With several processes it is the guest's to know whose end a signal is.
SignalSet CallSupport::handled_signals() const {
  if (ends_in_order_ || processes_.size() > 1) {
    return ~SignalSet{0};
  }
  SignalSet blocked = ~SignalSet{0}; // by all
  for (const auto& thread : scheduler_.threads()) {
    blocked &= thread->signals.blocked();
  }
  return first().actions.survived() | blocked;
}

// ---- sending -----------------------------------------------------------------------------------

SignalCause CallSupport::cause_of(std::uint64_t signal, std::int32_t code) const {
  return {.signal = signal,
          .code = code,
          .address = 0,
          .process = static_cast<std::int32_t>(self().id),
          .user = self().credentials.ids(Credentials::Kind::user).real};
}

void CallSupport::send(Thread& thread, const SignalCause& cause) {
  Process& process = *thread.process;
  begin_to_send(process, cause.signal);
  if (thread.signals.takes(cause.signal) &&
      waits_for_continuation(process, cause.signal, process.actions.effect_of(cause.signal))) {
    process.pending.add(cause);
    return;
  }
  suffer(process, thread.signals.send(cause), cause.signal);
  scheduler_.wake(thread); // whatever it waits for, it looks whether that is for it
  scheduler_.wake_watchers();
}

void CallSupport::send_to_any(Process& process, const SignalCause& cause) {
  begin_to_send(process, cause.signal);
  const SignalEffect effect = process.actions.effect_of(cause.signal);
  if (waits_for_continuation(process, cause.signal, effect)) {
    process.pending.add(cause);
    return;
  }
  bool is_taken = false;
  for_each_thread(process, [&](const Thread& thread) {
    is_taken = is_taken || thread.signals.takes(cause.signal);
  });
  if (effect != SignalEffect::handler && is_taken) {
    suffer(process, effect, cause.signal);
    return;
  }
  process.pending.add(cause);
  for_each_thread(process, [&](Thread& thread) {
    if (thread.signals.takes(cause.signal) || (thread.awaited & set_of(cause.signal)) != 0) {
      scheduler_.wake(thread);
    }
  });
  scheduler_.wake_watchers();
}

void CallSupport::send_to_each(std::vector<Process*> targets, const SignalCause& cause) {
  // The one that runs last: it may be its end.
  std::ranges::partition(targets, [this](const Process* target) { return target != &self(); });
  for (Process* const target : targets) {
    send_to_any(*target, cause);
  }
}

bool CallSupport::receive_signals() {
  constexpr SignalSet of_terminal =
      set_of(SIGINT) | set_of(SIGQUIT) | set_of(SIGTSTP) | set_of(SIGWINCH);
  const SignalSet came = machine_.take_signals();
  for (SignalSet signals = came; signals != 0; signals &= signals - 1) {
    const auto signal = static_cast<std::uint64_t>(std::countr_zero(signals)) + 1;
    const bool is_for_group = (of_terminal & set_of(signal)) != 0;
    send_to_each(processes_that([&](const Process& process) {
                   return is_for_group ? process.group == foreground_ : is_first(process);
                 }),
                 {.signal = signal, .code = SI_KERNEL});
  }
  for (std::size_t index = 0; index < processes_.size(); ++index) {
    if (processes_[index]->timers.any_set() && !processes_[index]->wait_status) {
      receive_timers(*processes_[index]);
    }
  }
  return came != 0;
}

void CallSupport::receive_timers(Process& process) {
  const Timers::Now is = now_of(process);
  if (process.timers.next_while_computing_ns(is) > is.elapsed_ns) {
    return;
  }
  SignalSet waiting = process.pending.waiting();
  for_each_thread(process, [&](const Thread& thread) {
    waiting |= thread.signals.own().waiting(); // a timer may be for one alone
  });
  for (auto cause = process.timers.take(is, waiting); cause;
       cause = process.timers.take(is, waiting)) {
    waiting |= set_of(cause->signal);
    if (cause->thread == 0) {
      send_to_any(process, *cause);
    } else if (Thread* const thread = scheduler_.find(cause->thread);
               thread != nullptr && thread->process == &process) {
      send(*thread, *cause);
    }
  }
}

// A thread that waits finds out when it goes on.
void CallSupport::suffer(Process& process, SignalEffect effect, std::uint64_t signal) {
  const bool runs = &process == &self() && scheduler_.running().state == Thread::State::running;
  if (effect == SignalEffect::end) {
    if (runs || is_first(process)) {
      end_by_signal(process, signal);
    }
    kill_process(process, static_cast<int>(signal));
  }
  if (effect == SignalEffect::stop) {
    stop(process, signal);
  }
}

// ---- waiting -----------------------------------------------------------------------------------

int CallSupport::suspend_signals(std::uint64_t address, std::uint64_t bytes) {
  SignalSet blocked = 0;
  if (address == 0) {
    return 0;
  }
  if (bytes != sizeof blocked) {
    return EINVAL;
  }
  if (!user_.fetch(address, blocked)) {
    return EFAULT;
  }
  signals().suspend(blocked);
  machine_.set_handled_signals(handled_signals());
  return 0;
}

// With a signal to handle, what was blocked before comes back with the handler's return.
void CallSupport::end_suspension() {
  if (!is_diverted()) {
    signals().end_suspend();
    machine_.set_handled_signals(handled_signals());
  }
}

std::optional<SignalCause> CallSupport::accept_signal(SignalSet wanted) {
  auto cause = signals().accept(wanted);
  if (cause) {
    count_overruns(*cause);
  }
  return cause;
}

void CallSupport::count_overruns(SignalCause& cause) {
  if (cause.code == SI_TIMER) {
    cause.overruns = self().timers.deliver(cause.timer + Timers::interval_timers);
  }
}

} // namespace guest::linux
