// SPDX-License-Identifier: MIT
// What a program asks of itself and its machine: numbers, limits, names, random bytes.
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t arch_set_fs = 0x1002;          // ARCH_SET_FS of the kernel
constexpr std::uint64_t most_random_bytes = INT32_MAX; // of one call, as Linux has it

template <std::size_t N> void set_text(char (&to)[N], std::string_view text) {
  std::memcpy(to, text.data(), std::min(text.size(), N - 1));
}

} // namespace

Answer ProgramCalls::sys_exit_group(const Args& args) {
  end(static_cast<std::uint8_t>(args[0] & 0xff));
}

Answer ProgramCalls::sys_getpid(const Args& /*args*/) {
  return self().id;
}
Answer ProgramCalls::sys_nothing(const Args& /*args*/) {
  return 0;
}

Answer ProgramCalls::sys_arch_prctl(const Args& args) {
  if (args[0] != arch_set_fs) {
    return -EINVAL;
  }
  if (args[1] >> 47 != 0) {
    return -EPERM;
  }
  machine_.set_thread_pointer(args[1]);
  return 0;
}

Answer ProgramCalls::sys_uname(const Args& args) {
  utsname name{};
  set_text(name.sysname, "Linux");
  set_text(name.nodename, "ebb");
  set_text(name.release, "6.1.0-ebb");
  set_text(name.version, "#1 SMP Ebb");
  set_text(name.machine, "x86_64");
  set_text(name.domainname, "(none)");
  return user_.store(args[0], name) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_prlimit64(const Args& args) {
  const auto [whose, resource, wanted_at, before_at, unused4, unused5] = args;
  Process* const process = process_at(whose);
  if (resource >= Limits::count) {
    return -EINVAL;
  }
  if (process == nullptr) {
    return -ESRCH;
  }
  const rlimit before = process->limits.of(resource);
  if (wanted_at != 0) {
    rlimit wanted{};
    if (!user_.fetch(wanted_at, wanted)) {
      return -EFAULT;
    }
    if (const int error = process->limits.set(resource, wanted); error != 0) {
      return -Answer{error};
    }
    process->files.set_limit(process->limits.of(RLIMIT_NOFILE).rlim_cur);
  }
  return before_at == 0 || user_.store(before_at, before) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_getrlimit(const Args& args) {
  return args[1] == 0 ? -EFAULT : sys_prlimit64({0, args[0], 0, args[1], 0, 0});
}

Answer ProgramCalls::sys_setrlimit(const Args& args) {
  return args[1] == 0 ? -EFAULT : sys_prlimit64({0, args[0], args[1], 0, 0, 0});
}

Answer ProgramCalls::sys_sysinfo(const Args& args) {
  struct sysinfo info {};
  info.uptime = static_cast<long>(machine_.now_ns() / 1'000'000'000);
  info.totalram = machine_.ram_bytes();
  info.freeram = pages_.space().free_pages * abi::page_bytes;
  info.procs = static_cast<unsigned short>(scheduler_.threads().size());
  info.mem_unit = 1;
  return user_.store(args[0], info) ? 0 : -EFAULT;
}

Answer ProgramCalls::sys_getrandom(const Args& args) {
  if ((args[2] & ~std::uint64_t{GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE}) != 0) {
    return -EINVAL;
  }
  const Or<std::span<std::byte>> to =
      user_.room_from(args[0], std::min(args[1], most_random_bytes));
  if (!to) {
    return -Answer{to.error()};
  }
  return answer_of(random_.fill(*to));
}

// ---- the processor -----------------------------------------------------------------------------

Answer ProgramCalls::sys_sched_getaffinity(const Args& args) {
  const std::uint64_t kept = self().traits.affinity;
  const std::uint64_t mask = kept != 0 ? kept : (std::uint64_t{1} << machine_.vcpus()) - 1;
  if (args[1] < sizeof mask) {
    return -EINVAL;
  }
  if (static_cast<std::int32_t>(args[0]) != 0 &&
      find_thread(static_cast<std::int32_t>(args[0])) == nullptr) {
    return -ESRCH;
  }
  return user_.store(args[2], mask) ? Answer{sizeof mask} : -EFAULT;
}

Answer ProgramCalls::sys_getrusage(const Args& args) {
  const auto whose = static_cast<std::int32_t>(args[0]);
  rusage usage{};
  if (whose != RUSAGE_SELF && whose != RUSAGE_THREAD && whose != RUSAGE_CHILDREN) {
    return -EINVAL;
  }
  const std::uint64_t used = whose == RUSAGE_THREAD     ? scheduler_.used_ns(scheduler_.running())
                             : whose == RUSAGE_CHILDREN ? self().used_by_children_ns
                                                        : used_ns(self());
  const std::uint64_t now_us = used / 1000;
  usage.ru_utime = {static_cast<time_t>(now_us / 1'000'000),
                    static_cast<suseconds_t>(now_us % 1'000'000)};
  usage.ru_maxrss = static_cast<long>(memory_.mapped_bytes() >> 10);
  return user_.store(args[1], usage) ? 0 : -EFAULT;
}

// Nobody else wants the processor. Linux's answer is 20 less the niceness.
Answer ProgramCalls::sys_getpriority(const Args& args) {
  constexpr int unchanged = 20;
  return args[0] > PRIO_USER ? -EINVAL : unchanged;
}

Answer ProgramCalls::sys_umask(const Args& args) {
  const std::uint32_t before = self().umask;
  self().umask = static_cast<std::uint32_t>(args[0]) & 0777U;
  return before;
}

} // namespace guest::linux
