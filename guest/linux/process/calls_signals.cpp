// SPDX-License-Identifier: MIT
// Signals: what is to come of them, sending them, waiting for them. How they arrive is in
// support_signals.cpp, what handlers do in process_handlers.cpp.
#include <cerrno>
#include <csignal>

#include "guest/linux/process/program_calls.hpp"
#include "guest/linux/signals/signal_frame.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t set_bytes = sizeof(SignalSet);

bool is_signal(std::uint64_t number) {
  return number >= 1 && number <= last_signal;
}

} // namespace

// ---- dispositions ------------------------------------------------------------------------------

Answer ProgramCalls::sys_rt_sigaction(const Args& args) {
  const auto [signal, action, old_action, bytes, unused4, unused5] = args;
  if (bytes != set_bytes || !is_signal(signal) ||
      (action != 0 && (signal == SIGKILL || signal == SIGSTOP))) {
    return -EINVAL;
  }
  SignalAction next;
  if (action != 0 && !user_.fetch(action, next)) {
    return -EFAULT;
  }
  const SignalAction before = self().actions.of(signal);
  if (action != 0) {
    self().actions.set(signal, next);
    if (self().actions.effect_of(signal) == SignalEffect::nothing) {
      self().pending.forget(signal);
      for_each_thread(self(), [&](Thread& thread) { thread.signals.forget(signal); });
    }
    machine_.set_handled_signals(handled_signals());
  }
  return old_action == 0 || user_.store(old_action, before) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_rt_sigprocmask(const Args& args) {
  const auto [how, set, old_set, bytes, unused4, unused5] = args;
  const SignalSet before = signals().blocked();
  SignalSet change = 0;
  if (bytes != set_bytes) {
    return -EINVAL;
  }
  if (set != 0) {
    if (!user_.fetch(set, change)) {
      return -EFAULT;
    }
    switch (how) {
    case SIG_BLOCK:
      signals().set_blocked(before | change);
      break;
    case SIG_UNBLOCK:
      signals().set_blocked(before & ~change);
      break;
    case SIG_SETMASK:
      signals().set_blocked(change);
      break;
    default:
      return -EINVAL;
    }
    machine_.set_handled_signals(handled_signals());
  }
  return old_set == 0 || user_.store(old_set, before) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_rt_sigpending(const Args& args) {
  if (args[1] > set_bytes) {
    return -EINVAL;
  }
  const SignalSet waiting = signals().waiting();
  return user_.may_write(args[0], args[1]) && user_.store(args[0], waiting) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_sigaltstack(const Args& args) {
  const auto [next_address, old_address, unused2, unused3, unused4, unused5] = args;
  const bool is_used = signals().alternate_stack.is_used_at(caller_stack_);
  AlternateStack before = signals().alternate_stack;
  before.flags |= is_used ? AlternateStack::in_use : 0;
  if (next_address != 0) {
    AlternateStack next;
    if (!user_.fetch(next_address, next)) {
      return -EFAULT;
    }
    if (is_used) {
      return -EPERM;
    }
    if (next.flags != 0 && next.flags != AlternateStack::in_use &&
        next.flags != AlternateStack::disabled) {
      return -EINVAL;
    }
    if (next.flags == AlternateStack::disabled) {
      next = {};
    } else if (next.bytes < AlternateStack::least_bytes) {
      return -ENOMEM;
    }
    next.flags &= AlternateStack::disabled; // whether it is in use, is seen
    signals().alternate_stack = next;
  }
  return old_address == 0 || user_.store(old_address, before) ? 0 : -EFAULT;
}

// ---- sending -----------------------------------------------------------------------------------

// Signal 0 only asks whether there is somebody. Who has ended and was not waited for takes what
// comes.
Answer ProgramCalls::send_to_process(std::int64_t target, const SignalCause& cause) {
  if (cause.signal > last_signal) {
    return -EINVAL;
  }
  const Thread* const thread = scheduler_.find(target);
  const auto is_target = [&](const auto& process) {
    return !process->is_waited_for &&
           (process->id == target || (thread != nullptr && thread->process == process.get()));
  };
  const auto found = std::ranges::find_if(processes_, is_target);
  if (found == processes_.end()) {
    return -ESRCH;
  }
  if (cause.signal != 0 && !(*found)->wait_status) {
    send_to_any(**found, cause);
  }
  return 0;
}

Answer ProgramCalls::send_to_thread(std::int64_t group, std::int64_t thread,
                                    const SignalCause& cause) {
  Thread* const target = scheduler_.find(thread);
  if (cause.signal > last_signal) {
    return -EINVAL;
  }
  if (target == nullptr || (group != any_group && target->process->id != group)) {
    return -ESRCH;
  }
  if (cause.signal != 0) {
    send(*target, cause);
  }
  return 0;
}

Answer ProgramCalls::sys_kill(const Args& args) {
  const auto target = static_cast<std::int32_t>(args[0]);
  const SignalCause cause = cause_of(args[1], SI_USER);
  if (target > 0) {
    return send_to_process(target, cause);
  }
  if (cause.signal > last_signal) {
    return -EINVAL;
  }
  const std::int32_t own = self().group;
  const std::vector<Process*> targets = processes_that([&](const Process& process) {
    return target == -1  ? &process != &self() && !is_first(process)
           : target == 0 ? process.group == own
                         : process.group == -std::int64_t{target};
  });
  if (cause.signal != 0) {
    send_to_each(targets, cause);
  }
  return targets.empty() ? -ESRCH : 0;
}

Answer ProgramCalls::sys_tkill(const Args& args) {
  const auto target = static_cast<std::int32_t>(args[0]);
  return target <= 0 ? -EINVAL : send_to_thread(any_group, target, cause_of(args[1], SI_TKILL));
}

Answer ProgramCalls::sys_tgkill(const Args& args) {
  const auto group = static_cast<std::int32_t>(args[0]);
  const auto target = static_cast<std::int32_t>(args[1]);
  return group <= 0 || target <= 0 ? -EINVAL
                                   : send_to_thread(group, target, cause_of(args[2], SI_TKILL));
}

// What a program says of itself; that the kernel or kill has sent it, it may only tell itself.
Or<SignalCause> ProgramCalls::cause_at(std::uint64_t signal, std::uint64_t address,
                                       const PendingSignals& room) const {
  SignalInformation information{};
  if (!user_.fetch(address, information)) {
    return std::unexpected(EFAULT);
  }
  if (signal >= first_queued_signal && signal <= last_signal && !room.has_room()) {
    return std::unexpected(EAGAIN);
  }
  return SignalCause{.signal = signal,
                     .code = information.code,
                     .address = information.address,
                     .process = information.sender.process,
                     .user = information.sender.user,
                     .value = information.value};
}

Answer ProgramCalls::sys_rt_sigqueueinfo(const Args& args) {
  const Or<SignalCause> cause = cause_at(args[1], args[2], self().pending);
  return cause ? send_to_process(static_cast<std::int32_t>(args[0]), *cause)
               : -Answer{cause.error()};
}

Answer ProgramCalls::sys_rt_tgsigqueueinfo(const Args& args) {
  const auto group = static_cast<std::int32_t>(args[0]);
  const auto target = static_cast<std::int32_t>(args[1]);
  if (group <= 0 || target <= 0) {
    return -EINVAL;
  }
  const Thread* const thread = scheduler_.find(target);
  if (thread == nullptr || thread->process->id != group) {
    return -ESRCH;
  }
  const Or<SignalCause> cause = cause_at(args[2], args[3], thread->signals.own());
  return cause ? send_to_thread(group, target, *cause) : -Answer{cause.error()};
}

Answer ProgramCalls::sys_rt_sigtimedwait(const Args& args) {
  SignalSet wanted = 0;
  if (args[3] != set_bytes) {
    return -EINVAL;
  }
  if (!user_.fetch(args[0], wanted)) {
    return -EFAULT;
  }
  const Or<std::uint64_t> timeout = timeout_at(args[2]);
  if (!timeout) {
    return -Answer{timeout.error()};
  }
  const std::uint64_t until =
      *timeout == wait_for_ever ? Machine::never : machine_.now_ns() + *timeout;
  // They wait meanwhile, whatever is done with them otherwise.
  Thread& thread = scheduler_.running();
  const SignalSet blocked = thread.signals.blocked();
  for (;;) {
    if (auto cause = signals().accept(wanted)) {
      count_overruns(*cause);
      const bool told = args[1] == 0 || user_.store(args[1], information_of(*cause));
      return told ? static_cast<Answer>(cause->signal) : -EFAULT;
    }
    if (is_diverted()) {
      return -EINTR;
    }
    if (until != Machine::never && machine_.now_ns() >= until) {
      return -EAGAIN;
    }
    thread.awaited = wanted;
    thread.signals.set_blocked(blocked | wanted);
    machine_.set_handled_signals(handled_signals());
    rest_until(until);
    thread.signals.set_blocked(blocked);
    thread.awaited = 0;
    machine_.set_handled_signals(handled_signals());
  }
}

// Waits for a signal that has a handler.
Answer ProgramCalls::sys_pause(const Args& /*args*/) {
  while (!is_diverted()) {
    rest_until(Machine::never);
  }
  return -EINTR;
}

Answer ProgramCalls::sys_rt_sigsuspend(const Args& args) {
  if (args[0] == 0) {
    return -EFAULT;
  }
  const int error = suspend_signals(args[0], args[1]);
  return error != 0 ? -Answer{error} : sys_pause(args);
}

// ---- handlers ----------------------------------------------------------------------------------

// All registers are replaced: by go_on(), which has them.
Answer ProgramCalls::sys_rt_sigreturn(const Args& /*args*/) {
  scheduler_.running().handler_returns = true;
  return 0;
}

} // namespace guest::linux
