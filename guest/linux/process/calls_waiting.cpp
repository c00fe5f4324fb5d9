// SPDX-License-Identifier: MIT
// Pipes, and waiting for files to be ready: a thread looks again whenever another has done
// something that may have changed that, and when the time, a signal or one of the host's streams
// wakes it.
#include <fcntl.h>
#include <poll.h>
#include <sys/select.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <ctime>

#include "guest/linux/files/pipe.hpp"
#include "guest/linux/files/poll_events.hpp"
#include "guest/linux/process/file_calls.hpp"
#include "guest/linux/process/times.hpp"

namespace guest::linux {

// ---- pipes -------------------------------------------------------------------------------------

Answer FileCalls::sys_pipe2(const Args& args) {
  constexpr std::uint64_t known = O_CLOEXEC | O_NONBLOCK;
  if ((args[1] & ~known) != 0) {
    return -EINVAL;
  }
  if (!user_.may_write(args[0], 2 * sizeof(std::int32_t))) {
    return -EFAULT;
  }
  const PipeEnds ends = make_pipe(++pipes_);
  return add_two(ends.reader, ends.writer, args[1] | O_RDONLY, args[1] | O_WRONLY, args[0]);
}

Answer FileCalls::sys_pipe(const Args& args) {
  return sys_pipe2({args[0], 0, 0, 0, 0, 0});
}

// ---- waiting -----------------------------------------------------------------------------------

Or<std::uint64_t> FileCalls::wait_for(std::span<Watched> all, std::uint64_t timeout_ns) {
  bool may_become_ready = false;
  const std::uint64_t until =
      timeout_ns == wait_for_ever ? Machine::never : machine_.now_ns() + timeout_ns;
  std::uint64_t first = until; // when there is something to look for again
  const auto look = [&] {
    std::uint64_t ready = 0;
    first = until;
    for (Watched& one : all) {
      OpenFile* const file = file_at(one.descriptor);
      one.open = file != nullptr;
      one.is = file == nullptr ? 0 : file->file->ready_for(one.wanted).value_or(abi::file_hung_up);
      ready += !one.open || one.is != 0 ? 1 : 0;
      if (!one.open || one.is != 0 || timeout_ns == 0) {
        continue;
      }
      first = std::min(first, file->file->ready_at_ns());
      if (file->file->may_become_ready()) {
        may_become_ready |= file->file->watch(one.wanted) == 0;
      }
    }
    return ready;
  };
  for (;;) {
    const std::uint64_t ready = look();
    if (ready != 0 || timeout_ns == 0) {
      return ready;
    }
    if (is_diverted()) {
      return std::unexpected(EINTR);
    }
    if (until != Machine::never && machine_.now_ns() >= until) {
      return 0;
    }
    if (first == Machine::never && !may_become_ready && is_only_thread() && !may_be_interrupted()) {
      return std::unexpected(EDEADLK); // nobody is there to end it
    }
    rest_until(first, Scheduler::Wakes::by_any_files);
  }
}

Answer FileCalls::poll_until(std::uint64_t address, std::uint64_t count, std::uint64_t timeout_ns) {
  if (count > self().files.limit()) {
    return -EINVAL;
  }
  std::vector<Watched> all;
  std::vector<pollfd> entries(count);
  for (std::uint64_t index = 0; index < count; ++index) {
    pollfd& entry = entries[index];
    if (!user_.fetch(address + index * sizeof entry, entry)) {
      return -EFAULT;
    }
    if (entry.fd >= 0) {
      all.push_back({.descriptor = static_cast<std::uint64_t>(entry.fd),
                     .wanted = readiness_of(static_cast<std::uint16_t>(entry.events))});
    }
  }
  const Or<std::uint64_t> ready = wait_for(all, timeout_ns);
  if (!ready) {
    return -Answer{ready.error()};
  }
  std::size_t next = 0;
  for (std::uint64_t index = 0; index < count; ++index) {
    pollfd& entry = entries[index];
    unsigned events = 0;
    if (entry.fd >= 0) {
      const Watched& one = all[next++];
      events = one.open ? events_of(one.is, static_cast<std::uint16_t>(entry.events))
                        : unsigned{POLLNVAL};
    }
    entry.revents = static_cast<short>(events);
    if (!user_.store(address + index * sizeof entry, entry)) {
      return -EFAULT;
    }
  }
  return static_cast<Answer>(*ready);
}

Answer FileCalls::sys_poll(const Args& args) {
  return poll_until(args[0], args[1] & 0xffffffff, timeout_of_ms(args[2]));
}

Answer FileCalls::sys_ppoll(const Args& args) {
  const Or<std::uint64_t> timeout = timeout_at(args[2]);
  if (!timeout) {
    return -Answer{timeout.error()};
  }
  if (const int error = suspend_signals(args[3], args[4]); error != 0) {
    return -Answer{error};
  }
  const Answer ready = poll_until(args[0], args[1] & 0xffffffff, *timeout);
  end_suspension();
  return ready;
}

// Sets are bits, in words of 64; which of them `what` stands for is the order of the arguments.
Answer FileCalls::select_until(const Args& args, std::uint64_t timeout_ns) {
  if (static_cast<std::int32_t>(args[0]) < 0) {
    return -EINVAL;
  }
  // Linux looks no further than there could be descriptors without a larger table of them.
  const std::uint64_t most = std::bit_ceil(std::max<std::uint64_t>(self().files.end(), 64));
  const std::uint64_t count = std::min(args[0] & 0xffffffff, most);
  const std::uint64_t words = (count + 63) / 64;
  std::array<std::vector<std::uint64_t>, 3> sets;
  sets.fill(std::vector<std::uint64_t>(words));
  for (std::size_t what = 0; what < sets.size(); ++what) {
    for (std::uint64_t word = 0; args[what + 1] != 0 && word < words; ++word) {
      if (!user_.fetch(args[what + 1] + word * sizeof(std::uint64_t), sets[what][word])) {
        return -EFAULT;
      }
    }
  }
  const auto has = [&](std::size_t what, std::uint64_t descriptor) {
    return (sets[what][descriptor / 64] >> (descriptor % 64) & 1U) != 0;
  };
  std::vector<Watched> all;
  for (std::uint64_t descriptor = 0; descriptor < count; ++descriptor) {
    const Readiness wanted = (has(0, descriptor) ? abi::file_readable : 0U) |
                             (has(1, descriptor) ? abi::file_writable : 0U);
    if (wanted == 0 && !has(2, descriptor)) {
      continue;
    }
    if (file_at(descriptor) == nullptr) {
      return -EBADF;
    }
    if (wanted != 0) {
      all.push_back({.descriptor = descriptor, .wanted = wanted});
    }
  }
  if (const Or<std::uint64_t> ready = wait_for(all, timeout_ns); !ready) {
    return -Answer{ready.error()};
  }
  sets.fill(std::vector<std::uint64_t>(words));
  Answer bits = 0;
  for (const Watched& one : all) {
    const std::uint64_t bit = std::uint64_t{1} << (one.descriptor % 64);
    constexpr Readiness reads = abi::file_readable | abi::file_hung_up | file_failed;
    constexpr Readiness writes = abi::file_writable | file_failed;
    if ((one.wanted & abi::file_readable) != 0 && (one.is & reads) != 0) {
      sets[0][one.descriptor / 64] |= bit;
      ++bits;
    }
    if ((one.wanted & abi::file_writable) != 0 && (one.is & writes) != 0) {
      sets[1][one.descriptor / 64] |= bit;
      ++bits;
    }
  }
  for (std::size_t what = 0; what < sets.size(); ++what) {
    for (std::uint64_t word = 0; args[what + 1] != 0 && word < words; ++word) {
      if (!user_.store(args[what + 1] + word * sizeof(std::uint64_t), sets[what][word])) {
        return -EFAULT;
      }
    }
  }
  return bits;
}

Answer FileCalls::sys_select(const Args& args) {
  timeval time{};
  if (args[4] == 0) {
    return select_until(args, wait_for_ever);
  }
  if (!user_.fetch(args[4], time)) {
    return -EFAULT;
  }
  if (time.tv_sec < 0 || time.tv_usec < 0) {
    return -EINVAL;
  }
  const auto seconds = std::min(static_cast<std::uint64_t>(time.tv_sec), most_timeout_seconds);
  return select_until(args, seconds * ns_per_second +
                                static_cast<std::uint64_t>(time.tv_usec) * ns_per_us);
}

Answer FileCalls::sys_pselect6(const Args& args) {
  const Or<std::uint64_t> timeout = timeout_at(args[4]);
  if (!timeout) {
    return -Answer{timeout.error()};
  }
  std::array<std::uint64_t, 2> mask{}; // address and bytes
  if (args[5] != 0 && !user_.fetch(args[5], mask)) {
    return -EFAULT;
  }
  if (const int error = suspend_signals(mask[0], mask[1]); error != 0) {
    return -Answer{error};
  }
  const Answer ready = select_until(args, *timeout);
  end_suspension();
  return ready;
}

} // namespace guest::linux
