// SPDX-License-Identifier: MIT
// What programs say and ask of who runs when and where. Nothing in a guest goes by it but what a
// program reads again.
#include <linux/membarrier.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

namespace {

constexpr std::int32_t highest_priority = 99; // of those for real time
constexpr int policy_deadline = 6;            // SCHED_DEADLINE, SCHED_EXT
constexpr int policy_extensible = 7;
constexpr int policy_of_iso = 4; // reserved, and never made

// ioprio_set(2): the class lies above 13 bits of level. <linux/ioprio.h> has them, but newer ones
// of it are no C++.
enum class IoClass : std::int32_t { none, real_time, best_effort, idle };
constexpr int io_class_shift = 13;
enum IoWho : std::uint64_t { io_process = 1, io_group, io_user };

bool is_for_real_time(int policy) {
  return policy == SCHED_FIFO || policy == SCHED_RR;
}

// -1: no such policy.
std::int32_t most_priority(std::uint64_t policy) {
  const auto number = static_cast<std::int32_t>(policy);
  return number < 0 || number > policy_extensible || number == policy_of_iso ? -1
         : is_for_real_time(number)                                          ? highest_priority
                                                                             : 0;
}

// 0; EINVAL, ESRCH.
int check_thread(std::uint64_t number, std::int32_t own) {
  const auto given = static_cast<std::int32_t>(number);
  return given < 0 ? EINVAL : given == 0 || given == own ? 0 : ESRCH;
}

} // namespace

Answer ProgramCalls::sys_sched_get_priority_max(const Args& args) {
  const std::int32_t most = most_priority(args[0]);
  return most < 0 ? -EINVAL : Answer{most};
}

Answer ProgramCalls::sys_sched_get_priority_min(const Args& args) {
  const std::int32_t most = most_priority(args[0]);
  return most < 0 ? -EINVAL : Answer{most == 0 ? 0 : 1};
}

Answer ProgramCalls::sys_sched_getscheduler(const Args& args) {
  const int error = check_thread(args[0], self().id);
  return error != 0 ? -Answer{error} : Answer{self().traits.policy};
}

Answer ProgramCalls::sys_sched_getparam(const Args& args) {
  const int error = args[1] == 0 ? EINVAL : check_thread(args[0], self().id);
  if (error != 0) {
    return -Answer{error};
  }
  return user_.store(args[1], std::int32_t{0}) ? 0 : -EFAULT;
}

// Nobody's right is to be before others.
Answer ProgramCalls::set_policy(std::uint64_t thread, std::int32_t policy,
                                std::uint64_t parameters) {
  std::int32_t priority = 0;
  if (parameters == 0 || static_cast<std::int32_t>(thread) < 0) {
    return -EINVAL;
  }
  if (!user_.fetch(parameters, priority)) {
    return -EFAULT;
  }
  if (const int error = check_thread(thread, self().id); error != 0) {
    return -Answer{error};
  }
  const std::int32_t plain = policy & ~SCHED_RESET_ON_FORK;
  const std::int32_t most = most_priority(static_cast<std::uint64_t>(plain));
  if (most < 0 || plain == policy_deadline || priority < 0 || priority > most ||
      (most != 0) != (priority != 0)) {
    return -EINVAL;
  }
  if (is_for_real_time(plain)) {
    return -EPERM;
  }
  self().traits.policy = policy;
  return 0;
}

Answer ProgramCalls::sys_sched_setscheduler(const Args& args) {
  const auto policy = static_cast<std::int32_t>(args[1]);
  return policy < 0 ? -EINVAL : set_policy(args[0], policy, args[2]);
}

Answer ProgramCalls::sys_sched_setparam(const Args& args) {
  return set_policy(args[0], self().traits.policy, args[1]);
}

Answer ProgramCalls::sys_sched_rr_get_interval(const Args& args) {
  constexpr long slice_ns = 4'000'000; // about what Linux gives
  const int error = check_thread(args[0], self().id);
  if (error != 0) {
    return -Answer{error};
  }
  return user_.store(args[1], timespec{0, slice_ns}) ? 0 : -EFAULT;
}

// Any set will do that has a vCPU in it; it is kept for who asks.
Answer ProgramCalls::sys_sched_setaffinity(const Args& args) {
  std::uint64_t set = 0;
  const std::uint64_t bytes = std::min<std::uint64_t>(args[1], sizeof set);
  for (std::uint64_t at = 0; at < bytes; ++at) {
    std::uint8_t byte = 0;
    if (!user_.fetch(args[2] + at, byte)) {
      return -EFAULT;
    }
    set |= std::uint64_t{byte} << (8 * at);
  }
  const auto thread = static_cast<std::int32_t>(args[0]);
  if (thread != 0 && find_thread(thread) == nullptr) {
    return -ESRCH;
  }
  set &= (std::uint64_t{1} << machine_.vcpus()) - 1;
  if (set == 0) {
    return -EINVAL;
  }
  self().traits.affinity = set;
  return 0;
}

Answer ProgramCalls::sys_getcpu(const Args& args) {
  constexpr std::uint32_t node = 0;
  if (args[1] != 0 && !user_.may_write(args[1], sizeof node)) {
    return -EFAULT; // before anything is written
  }
  const bool all = (args[0] == 0 || user_.store(args[0], std::uint32_t{machine_.vcpu()})) &&
                   (args[1] == 0 || user_.store(args[1], node));
  return all ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_ioprio_get(const Args& args) {
  const auto who = static_cast<std::int32_t>(args[1]);
  switch (args[0]) {
  case io_process:
  case io_group:
    return who == 0 || who == self().id ? Answer{self().traits.io_priority} : -ESRCH;
  case io_user:
    return static_cast<std::uint32_t>(who) ==
                       self().credentials.ids(Credentials::Kind::user).real ||
                   who == 0
               ? Answer{self().traits.io_priority}
               : -ESRCH;
  default:
    return -EINVAL;
  }
}

Answer ProgramCalls::sys_ioprio_set(const Args& args) {
  const auto priority = static_cast<std::int32_t>(args[2]);
  const auto kind = static_cast<IoClass>(priority >> io_class_shift);
  const std::int32_t level = priority & ((1 << io_class_shift) - 1);
  switch (kind) {
  case IoClass::real_time:
    return -EPERM;
  case IoClass::best_effort:
  case IoClass::idle:
    break;
  case IoClass::none:
    if (level != 0) {
      return -EINVAL;
    }
    break;
  default:
    return -EINVAL;
  }
  const Answer is = sys_ioprio_get(args);
  self().traits.io_priority = is < 0 ? self().traits.io_priority : priority;
  return std::min<Answer>(is, 0);
}

// On one vCPU a thread sees what others did before it in their order; others come to see it as they
// are stopped.
Answer ProgramCalls::sys_membarrier(const Args& args) {
  constexpr std::uint64_t commands = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |
                                     MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                                     MEMBARRIER_CMD_PRIVATE_EXPEDITED |
                                     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
  if (args[1] != 0) {
    return -EINVAL;
  }
  if (args[0] == MEMBARRIER_CMD_QUERY) {
    return static_cast<Answer>(commands);
  }
  if ((args[0] & (args[0] - 1)) != 0 || (args[0] & commands) == 0) {
    return -EINVAL;
  }
  if (args[0] == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
    self().traits.registered_barrier = true;
  }
  const bool is_private = args[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED;
  if (is_private && !self().traits.registered_barrier) {
    return -EPERM;
  }
  if (is_private || args[0] == MEMBARRIER_CMD_GLOBAL ||
      args[0] == MEMBARRIER_CMD_GLOBAL_EXPEDITED) {
    machine_.stop_others();
  }
  return 0;
}

} // namespace guest::linux
