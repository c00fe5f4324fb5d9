// SPDX-License-Identifier: MIT
// futex(2): waiting for, and waking at, a word of the program's memory. All threads share one
// memory, so that private futexes and others are the same.
#include <linux/futex.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

namespace {

std::uint32_t count_of(std::uint64_t argument) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(argument & 0xffffffff, std::numeric_limits<std::int32_t>::max()));
}

// What FUTEX_WAKE_OP makes of a word; `operation` is at most FUTEX_OP_XOR.
std::uint32_t operated(std::uint32_t operation, std::uint32_t word, std::uint32_t operand) {
  switch (operation) {
  case FUTEX_OP_SET:
    return operand;
  case FUTEX_OP_ADD:
    return word + operand;
  case FUTEX_OP_OR:
    return word | operand;
  case FUTEX_OP_ANDN:
    return word & ~operand;
  default:
    return word ^ operand;
  }
}

} // namespace

// Relative for FUTEX_WAIT; until then on the clock that it says for the others.
Or<std::uint64_t> ProgramCalls::futex_deadline(std::uint64_t operation, std::uint64_t timeout_at_) {
  const Or<std::uint64_t> timeout = timeout_at(timeout_at_);
  if (!timeout || *timeout == wait_for_ever) {
    return timeout ? Or<std::uint64_t>(Machine::never) : timeout;
  }
  const std::uint64_t command = operation & static_cast<std::uint64_t>(FUTEX_CMD_MASK);
  if (command == FUTEX_WAIT) {
    return machine_.now_ns() + *timeout;
  }
  const bool is_of_epoch = command == FUTEX_LOCK_PI || (operation & FUTEX_CLOCK_REALTIME) != 0;
  const std::int64_t since_boot =
      static_cast<std::int64_t>(*timeout) - (is_of_epoch ? start_.realtime_ns : 0);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(since_boot, 0));
}

Answer ProgramCalls::wait_at(std::uint64_t address, std::uint32_t value, std::uint32_t bits,
                             std::uint64_t deadline_ns) {
  std::uint32_t is = 0;
  if (bits == 0) {
    return -EINVAL;
  }
  if (!user_.fetch(address, is)) {
    return -EFAULT;
  }
  if (is != value) {
    return -EAGAIN;
  }
  if (deadline_ns == Machine::never && is_only_thread() && !may_be_interrupted()) {
    return -EDEADLK; // nobody is there to wake it
  }
  Futexes::Waiter waiter{
      .thread = &scheduler_.running(), .address = waiting_place(address), .bits = bits};
  futexes_.add(waiter);
  while (!waiter.is_woken) {
    const bool is_late = deadline_ns != Machine::never && machine_.now_ns() >= deadline_ns;
    if (is_late || is_diverted()) {
      futexes_.remove(waiter);
      return is_late ? -ETIMEDOUT : deadline_ns == Machine::never ? restart : -EINTR;
    }
    rest_until(deadline_ns);
  }
  return 0;
}

// ---- locks that the kernel hands over ----------------------------------------------------------

// The word is the number of the thread that has the lock, and whether others wait.
Answer ProgramCalls::try_lock_at(std::uint64_t address) {
  const auto self = static_cast<std::uint32_t>(scheduler_.running().id);
  const Or<std::uint32_t> before = user_.change_word(address, [&](std::uint32_t value) {
    const std::uint32_t others =
        futexes_.first_at(waiting_place(address)) == nullptr ? 0 : FUTEX_WAITERS;
    const bool is_free = (value & FUTEX_TID_MASK) == 0;
    return is_free ? self | others | (value & FUTEX_OWNER_DIED) : value;
  });
  if (!before) {
    return -EFAULT;
  }
  const std::uint32_t owner = *before & FUTEX_TID_MASK;
  return owner == 0 ? 0 : owner == self ? -EDEADLK : -EAGAIN;
}

Answer ProgramCalls::lock_at(std::uint64_t address, std::uint64_t deadline_ns) {
  for (;;) {
    const Answer locked = try_lock_at(address);
    if (locked != -EAGAIN) {
      return locked;
    }
    const Or<std::uint32_t> before = user_.change_word(address, [](std::uint32_t is) {
      return (is & FUTEX_TID_MASK) == 0 ? is : is | FUTEX_WAITERS;
    });
    if (!before) {
      return -EFAULT;
    }
    if ((*before & FUTEX_TID_MASK) == 0) {
      continue; // it has been given back meanwhile
    }
    if (scheduler_.find(*before & FUTEX_TID_MASK) == nullptr) {
      return -ESRCH;
    }
    const Answer waited = wait_at(address, *before | FUTEX_WAITERS, Futexes::all_bits, deadline_ns);
    if (waited != 0) {
      return waited;
    }
    std::uint32_t value = 0;
    const auto self = static_cast<std::uint32_t>(scheduler_.running().id);
    if (user_.fetch(address, value) && (value & FUTEX_TID_MASK) == self) {
      return 0; // whoever had it has handed it over
    }
  }
}

Answer ProgramCalls::unlock_at(std::uint64_t address) {
  std::uint32_t value = 0;
  if (!user_.fetch(address, value)) {
    return -EFAULT;
  }
  if ((value & FUTEX_TID_MASK) != static_cast<std::uint32_t>(scheduler_.running().id)) {
    return -EPERM;
  }
  Futexes::Waiter* const next = futexes_.first_at(waiting_place(address));
  if (next == nullptr) {
    return user_.store(address, std::uint32_t{0}) ? 0 : -EFAULT;
  }
  const auto owner = static_cast<std::uint32_t>(next->thread->id);
  futexes_.wake_one(*next);
  const std::uint32_t others =
      futexes_.first_at(waiting_place(address)) == nullptr ? 0 : FUTEX_WAITERS;
  return user_.store(address, owner | others) ? 0 : -EFAULT;
}

// ---- the call ----------------------------------------------------------------------------------

// FUTEX_WAKE_OP: changes the second word, and wakes there, too, if it was as `args` says.
Answer ProgramCalls::wake_by_operation(const Args& args) {
  const auto what = static_cast<std::uint32_t>(args[5]);
  const auto sign_extended = [](std::uint32_t twelve_bits) {
    return static_cast<std::int32_t>(twelve_bits << 20) >> 20;
  };
  std::int32_t operand = sign_extended(what >> 12);
  const std::int32_t compared = sign_extended(what);
  const std::uint32_t operation = what >> 28;
  if ((operation & FUTEX_OP_OPARG_SHIFT) != 0) {
    operand = static_cast<std::int32_t>(1U << (static_cast<std::uint32_t>(operand) & 31U));
  }
  if (args[4] % sizeof(std::uint32_t) != 0) {
    return -EINVAL;
  }
  const std::uint32_t kind = operation & ~std::uint32_t{FUTEX_OP_OPARG_SHIFT};
  if (kind > FUTEX_OP_XOR) {
    return user_.may_read(args[4], sizeof(std::uint32_t)) ? -ENOSYS : -EFAULT;
  }
  const Or<std::uint32_t> changed = user_.change_word(args[4], [&](std::uint32_t is) {
    return operated(kind, is, static_cast<std::uint32_t>(operand));
  });
  if (!changed) {
    return -EFAULT;
  }
  const auto before = static_cast<std::int32_t>(*changed);
  bool wakes = false;
  switch (what >> 24 & 0xf) {
  case FUTEX_OP_CMP_EQ:
    wakes = before == compared;
    break;
  case FUTEX_OP_CMP_NE:
    wakes = before != compared;
    break;
  case FUTEX_OP_CMP_LT:
    wakes = before < compared;
    break;
  case FUTEX_OP_CMP_LE:
    wakes = before <= compared;
    break;
  case FUTEX_OP_CMP_GT:
    wakes = before > compared;
    break;
  case FUTEX_OP_CMP_GE:
    wakes = before >= compared;
    break;
  default:
    return -ENOSYS;
  }
  std::uint32_t woken = futexes_.wake(waiting_place(args[0]), count_of(args[2]));
  woken += wakes ? futexes_.wake(waiting_place(args[4]), count_of(args[3])) : 0;
  return woken;
}

Answer ProgramCalls::sys_futex(const Args& args) {
  const auto [address, operation, value, fourth, second, last] = args;
  const std::uint64_t command = operation & static_cast<std::uint64_t>(FUTEX_CMD_MASK);
  if (address % sizeof(std::uint32_t) != 0) {
    return -EINVAL;
  }
  switch (command) {
  case FUTEX_WAIT:
  case FUTEX_WAIT_BITSET: {
    const Or<std::uint64_t> deadline = futex_deadline(operation, fourth);
    return deadline ? wait_at(address, static_cast<std::uint32_t>(value),
                              command == FUTEX_WAIT ? Futexes::all_bits
                                                    : static_cast<std::uint32_t>(last),
                              *deadline)
                    : -Answer{deadline.error()};
  }
  case FUTEX_WAKE:
    return futexes_.wake(waiting_place(address), count_of(value));
  case FUTEX_WAKE_BITSET:
    return last == 0 ? -EINVAL
                     : Answer{futexes_.wake(waiting_place(address), count_of(value),
                                            static_cast<std::uint32_t>(last))};
  case FUTEX_CMP_REQUEUE: {
    std::uint32_t is = 0;
    if (!user_.fetch(address, is)) {
      return -EFAULT;
    }
    if (is != static_cast<std::uint32_t>(last)) {
      return -EAGAIN;
    }
    [[fallthrough]];
  }
  case FUTEX_REQUEUE: {
    if (second % sizeof(std::uint32_t) != 0 || static_cast<std::int32_t>(value) < 0 ||
        static_cast<std::int32_t>(fourth) < 0) {
      return -EINVAL;
    }
    const std::uint32_t woken = futexes_.wake(waiting_place(address), count_of(value));
    return Answer{woken} +
           futexes_.move(waiting_place(address), waiting_place(second), count_of(fourth));
  }
  case FUTEX_WAKE_OP:
    return wake_by_operation(args);
  case FUTEX_LOCK_PI:
  case FUTEX_LOCK_PI2: {
    const Or<std::uint64_t> deadline = futex_deadline(operation, fourth);
    return deadline ? lock_at(address, *deadline) : -Answer{deadline.error()};
  }
  case FUTEX_TRYLOCK_PI:
    return try_lock_at(address);
  case FUTEX_UNLOCK_PI:
    return unlock_at(address);
  default:
    return -ENOSYS;
  }
}

} // namespace guest::linux
