// SPDX-License-Identifier: MIT
// Files that exist to be waited for: eventfd, timerfd, signalfd, epoll.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#include "guest/linux/events/event_counter.hpp"
#include "guest/linux/events/interest_list.hpp"
#include "guest/linux/events/signal_file.hpp"
#include "guest/linux/events/timer_file.hpp"
#include "guest/linux/process/file_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

namespace {

// The flags of all of them have the values of open's.
static_assert(EFD_CLOEXEC == O_CLOEXEC && EFD_NONBLOCK == O_NONBLOCK && TFD_CLOEXEC == O_CLOEXEC &&
              TFD_NONBLOCK == O_NONBLOCK && SFD_CLOEXEC == O_CLOEXEC &&
              SFD_NONBLOCK == O_NONBLOCK && EPOLL_CLOEXEC == O_CLOEXEC);
constexpr std::uint64_t open_flags = O_CLOEXEC | O_NONBLOCK;

// What is left of its time, and its interval.
itimerspec rest_of(TimerFile& timer, std::uint64_t now_ns) {
  const TimerFile::Setting is = timer.setting();
  // One that is about to run out has not yet.
  const std::uint64_t left_ns = is.next_ns == TimerFile::never ? 0
                                : is.next_ns > now_ns          ? is.next_ns - now_ns
                                                               : 1;
  return {to_timespec(is.interval_ns), to_timespec(left_ns)};
}

} // namespace

// ---- eventfd -----------------------------------------------------------------------------------

Answer FileCalls::sys_eventfd2(const Args& args) {
  if ((args[1] & ~(open_flags | EFD_SEMAPHORE)) != 0) {
    return -EINVAL;
  }
  const auto reading =
      (args[1] & EFD_SEMAPHORE) != 0 ? EventCounter::Reading::one : EventCounter::Reading::all;
  return add_file(new EventCounter(args[0], reading), O_RDWR | (args[1] & open_flags), {});
}

Answer FileCalls::sys_eventfd(const Args& args) {
  return sys_eventfd2({args[0], 0, 0, 0, 0, 0});
}

// ---- timerfd -----------------------------------------------------------------------------------

Answer FileCalls::sys_timerfd_create(const Args& args) {
  switch (args[0]) {
  case CLOCK_REALTIME:
  case CLOCK_MONOTONIC:
  case CLOCK_BOOTTIME:
    break;
  case CLOCK_REALTIME_ALARM:
  case CLOCK_BOOTTIME_ALARM: // they wake a machine, which no program here has the right to
    return (args[1] & ~open_flags) != 0 ? -EINVAL : -EPERM;
  default:
    return -EINVAL;
  }
  const Or<TimerClock> clock = timer_clock(args[0]);
  if ((args[1] & ~open_flags) != 0 || !clock) {
    return -EINVAL;
  }
  return add_file(new TimerFile(machine_, clock->epoch_ns), O_RDWR | args[1], {});
}

// EBADF; EINVAL: it is none.
Or<TimerFile*> FileCalls::timer_file_at(std::uint64_t descriptor) const {
  const OpenFile* const file = file_at(descriptor);
  if (file == nullptr) {
    return std::unexpected(EBADF);
  }
  TimerFile* const timer = file->file->timer();
  return timer == nullptr ? Or<TimerFile*>(std::unexpected(EINVAL)) : timer;
}

Answer FileCalls::sys_timerfd_settime(const Args& args) {
  const auto [descriptor, flags, next_time, old_time, unused4, unused5] = args;
  itimerspec time{};
  if (!user_.fetch(next_time, time)) {
    return -EFAULT;
  }
  const Or<std::uint64_t> first = ns_of(time.it_value);
  const Or<std::uint64_t> interval = ns_of(time.it_interval);
  if ((flags & ~std::uint64_t{TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET}) != 0 || !first ||
      !interval) {
    return -EINVAL;
  }
  const Or<TimerFile*> timer = timer_file_at(descriptor);
  if (!timer) {
    return -Answer{timer.error()};
  }
  const itimerspec before = rest_of(**timer, machine_.now_ns());
  TimerFile::Setting setting;
  if (*first != 0) {
    const std::int64_t from = (flags & TFD_TIMER_ABSTIME) != 0
                                  ? -(*timer)->epoch_ns()
                                  : static_cast<std::int64_t>(machine_.now_ns());
    const std::int64_t next = from + static_cast<std::int64_t>(*first);
    setting = {.next_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(next, 0)),
               .interval_ns = *interval};
  }
  (*timer)->set(setting);
  return old_time == 0 || user_.store(old_time, before) ? 0 : -EFAULT;
}

Answer FileCalls::sys_timerfd_gettime(const Args& args) {
  const Or<TimerFile*> timer = timer_file_at(args[0]);
  if (!timer) {
    return -Answer{timer.error()};
  }
  return user_.store(args[1], rest_of(**timer, machine_.now_ns())) ? 0 : -EFAULT;
}

// ---- signalfd ----------------------------------------------------------------------------------

Answer FileCalls::sys_signalfd4(const Args& args) {
  const auto [descriptor, address, bytes, flags, unused4, unused5] = args;
  SignalSet wanted = 0;
  if (bytes != sizeof wanted) {
    return -EINVAL;
  }
  if (!user_.fetch(address, wanted)) {
    return -EFAULT;
  }
  if ((flags & ~open_flags) != 0) {
    return -EINVAL;
  }
  wanted &= ~(set_of(SIGKILL) | set_of(SIGSTOP));
  if (static_cast<std::int32_t>(descriptor) == -1) {
    return add_file(new SignalFile(*this, wanted), O_RDWR | flags, {});
  }
  const OpenFile* const file = file_at(descriptor);
  if (file == nullptr) {
    return -EBADF;
  }
  SignalFile* const signals = file->file->signals();
  if (signals == nullptr) {
    return -EINVAL;
  }
  signals->want(wanted);
  return static_cast<Answer>(descriptor);
}

Answer FileCalls::sys_signalfd(const Args& args) {
  return sys_signalfd4({args[0], args[1], args[2], 0, 0, 0});
}

// ---- epoll -------------------------------------------------------------------------------------

Answer FileCalls::sys_epoll_create1(const Args& args) {
  if ((args[0] & ~std::uint64_t{EPOLL_CLOEXEC}) != 0) {
    return -EINVAL;
  }
  return add_file(new InterestList, O_RDWR | args[0], {});
}

Answer FileCalls::sys_epoll_create(const Args& args) {
  return static_cast<std::int32_t>(args[0]) <= 0 ? -EINVAL : sys_epoll_create1({});
}

Answer FileCalls::sys_epoll_ctl(const Args& args) {
  const auto [list_descriptor, operation, descriptor, address, unused4, unused5] = args;
  epoll_event wanted{};
  if (operation != EPOLL_CTL_DEL && !user_.fetch(address, wanted)) {
    return -EFAULT;
  }
  const std::shared_ptr<OpenFile> own = self().files.share(list_descriptor);
  const InterestList::Key key{descriptor, self().files.share(descriptor)};
  if (own == nullptr || key.file == nullptr) {
    return -EBADF;
  }
  if (!key.file->file->is_pollable()) {
    return -EPERM;
  }
  InterestList* const list = own->file->interests();
  if (list == nullptr || own == key.file) {
    return -EINVAL;
  }
  const InterestList::Event event{.events = wanted.events, .data = wanted.data.u64};
  switch (operation) {
  case EPOLL_CTL_ADD:
    return -Answer{list->add(own, key, event)};
  case EPOLL_CTL_MOD:
    return -Answer{list->change(key, event)};
  case EPOLL_CTL_DEL:
    return -Answer{list->remove(key)};
  default:
    return -EINVAL;
  }
}

Answer FileCalls::wait_for_events(const Args& args, std::uint64_t timeout_ns) {
  const std::uint64_t address = args[1];
  const auto asked = static_cast<std::int32_t>(args[2]);
  if (asked <= 0 || asked > INT_MAX / static_cast<std::int32_t>(sizeof(epoll_event))) {
    return -EINVAL;
  }
  const std::uint64_t bytes = static_cast<std::uint64_t>(asked) * sizeof(epoll_event);
  if (address > highest_address || bytes > highest_address - address) {
    return -EFAULT;
  }
  const std::shared_ptr<OpenFile> own = self().files.share(args[0]);
  if (own == nullptr) {
    return -EBADF;
  }
  InterestList* const list = own->file->interests();
  if (list == nullptr) {
    return -EINVAL;
  }
  const std::uint64_t most = user_.part_at(address, bytes, PROT_WRITE) / sizeof(epoll_event);
  const std::uint64_t until =
      timeout_ns == wait_for_ever ? Machine::never : machine_.now_ns() + timeout_ns;
  for (;;) {
    if (most == 0 && list->ready_for(abi::file_readable) != Readiness{0}) {
      return -EFAULT;
    }
    const std::vector<InterestList::Event> events = list->take(most);
    for (std::size_t index = 0; index < events.size(); ++index) {
      epoll_event event{};
      event.events = events[index].events;
      event.data.u64 = events[index].data;
      if (!user_.store(address + index * sizeof event, event)) {
        return index != 0 ? static_cast<Answer>(index) : -EFAULT;
      }
    }
    const std::uint64_t now_ns = machine_.now_ns();
    if (!events.empty() || timeout_ns == 0 || now_ns >= until) {
      return static_cast<Answer>(events.size());
    }
    const std::uint64_t left_ns = until == Machine::never ? wait_for_ever : until - now_ns;
    if (const Answer failed = wait_for_stream(*own, abi::file_readable, left_ns); failed != 0) {
      return failed == restart ? -EINTR : failed;
    }
  }
}

// With the signals that wait blocked meanwhile, if there is a set of them.
Answer FileCalls::wait_for_events(const Args& args, const Or<std::uint64_t>& timeout_ns,
                                  std::uint64_t mask, std::uint64_t mask_bytes) {
  if (!timeout_ns) {
    return -Answer{timeout_ns.error()};
  }
  if (const int error = suspend_signals(mask, mask_bytes); error != 0) {
    return -Answer{error};
  }
  const Answer answer = wait_for_events(args, *timeout_ns);
  end_suspension();
  return answer;
}

Answer FileCalls::sys_epoll_wait(const Args& args) {
  return wait_for_events(args, timeout_of_ms(args[3]));
}

Answer FileCalls::sys_epoll_pwait(const Args& args) {
  return wait_for_events(args, timeout_of_ms(args[3]), args[4], args[5]);
}

Answer FileCalls::sys_epoll_pwait2(const Args& args) {
  return wait_for_events(args, timeout_at(args[3]), args[4], args[5]);
}

} // namespace guest::linux
