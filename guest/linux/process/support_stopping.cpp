// SPDX-License-Identifier: MIT
// How a process stops and goes on again (job control, signal(7)). The threads of one that is
// stopped do not run, wherever in a call they are: what they wait for stays for others.
#include <sys/wait.h>

#include <bit>
#include <csignal>

#include "guest/linux/process/call_support.hpp"

namespace guest::linux {

void CallSupport::stop(Process& process, std::uint64_t signal) {
  if (is_first(process)) {
    stop_guest();
    return;
  }
  if (process.is_stopped) {
    return;
  }
  process.is_stopped = true;
  process.change = W_STOPCODE(static_cast<int>(signal));
  for_each_thread(process, [this](Thread& thread) { scheduler_.hold(thread); });
  tell_parent_of_change(process, CLD_STOPPED, signal);
  scheduler_.rest_if_held(); // it may be the process that runs
}

// By the host, which may have reasons not to. Who makes the guest go on means all that stopped with
// it.
void CallSupport::stop_guest() {
  static_cast<void>(files_.perform({.operation = abi::FileOperation::stop}));
  for (Process* const process :
       processes_that([this](const Process& other) { return other.group == first().group; })) {
    go_on_if_stopped(*process);
  }
}

void CallSupport::go_on_if_stopped(Process& process) {
  if (process.is_stopped) {
    process.is_stopped = false;
    process.change = __W_CONTINUED;
    release(process);
    tell_parent_of_change(process, CLD_CONTINUED, SIGCONT);
  }
}

// Each looks what has come meanwhile.
void CallSupport::release(const Process& process) {
  for_each_thread(process, [this](Thread& thread) {
    scheduler_.release(thread);
    scheduler_.wake(thread);
  });
}

// Whatever a process does with SIGCONT, it goes on with it; and either kind undoes what waits of
// the other.
void CallSupport::begin_to_send(Process& process, std::uint64_t signal) {
  const auto forget = [&](SignalSet signals) {
    for (SignalSet left = signals; left != 0; left &= left - 1) {
      const auto one = static_cast<std::uint64_t>(std::countr_zero(left)) + 1;
      process.pending.forget(one);
      for_each_thread(process, [one](Thread& thread) { thread.signals.forget(one); });
    }
  };
  if (signal == SIGCONT) {
    forget(stop_signals);
    go_on_if_stopped(process);
  } else if ((stop_signals & set_of(signal)) != 0) {
    forget(set_of(SIGCONT));
  }
}

void CallSupport::tell_parent_of_change(const Process& process, std::int32_t code,
                                        std::uint64_t signal) {
  Process* const parent = find_process(process.parent);
  if (parent == nullptr) {
    return;
  }
  if ((parent->actions.of(SIGCHLD).flags & SA_NOCLDSTOP) == 0) {
    send_to_any(*parent, {.signal = SIGCHLD,
                          .code = code,
                          .process = process.id,
                          .user = process.credentials.ids(Credentials::Kind::user).real,
                          .value = signal});
  }
  wake_for_children(*parent);
}

void CallSupport::wake_for_children(const Process& parent) {
  for_each_thread(parent, [this](Thread& thread) {
    if (thread.awaits_children) {
      scheduler_.wake(thread);
    }
  });
}

} // namespace guest::linux
