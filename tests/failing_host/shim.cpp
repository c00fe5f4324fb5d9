// SPDX-License-Identifier: MIT
// A host whose system calls fail: preloaded into the vmm (LD_PRELOAD), so that the vmm itself knows
// nothing of it. EBB_FAIL says which calls, how and how often, by spaces:
//
//   madvise=ERRNO:RATE            discards only (MADV_DONTNEED and MADV_FREE)
//   process_madvise=ERRNO:RATE    of guest RAM only: the vmm tries on other memory whether it works
//   process_madvise=partial:RATE  does only the first of its ranges, and a part of the second
//   fallocate=ERRNO:RATE
//   eventfd=full                  every counter is full from its first write until it is read
//   pthread_create=ERRNO:N        the N-th and later ones; N-M: those from N to M
//   mmap=ERRNO:BYTES              mappings of at least so many bytes
//   kvm_run=ERRNO:RATE            KVM_RUN
//   ioctl=ERRNO:NUMBER:N          the N-th and later ioctl of that (hexadecimal) number
//   process_vm_readv=ERRNO:RATE   and process_vm_writev
//   huge_pages=absent             a kernel without transparent huge pages
//   clock=jumps                   the wall clock jumps by days, forward and back
//   intruder=allocator            the same by a thread whose allocator makes wrong calls, too
//   intruder=socket               somebody has taken over the thread that discards, and wants out
//
// ERRNO is a number or one of the names below; RATE is from 0 to 1, by a generator of fixed seed.
// At exit a line "shim: N NAME failures" for each kind goes to standard error.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

namespace {

constexpr unsigned long kvm_run = 0xae80; // KVM_RUN

enum Kind : unsigned {
  madvise_fails,
  process_madvise_fails,
  process_madvise_partial,
  fallocate_fails,
  eventfd_full,
  pthread_create_fails,
  mmap_fails,
  kvm_run_fails,
  ioctl_fails,
  clock_jumps,
  intruder,
  process_vm_readv_fails,
  process_vm_writev_fails,
  huge_pages_absent,
  kinds,
};

constexpr std::array<const char*, kinds> names{"madvise",
                                               "process_madvise",
                                               "partial",
                                               "fallocate",
                                               "eventfd",
                                               "pthread_create",
                                               "mmap",
                                               "kvm_run",
                                               "ioctl",
                                               "clock",
                                               "intruder",
                                               "process_vm_readv",
                                               "process_vm_writev",
                                               "huge_pages"};

constexpr std::array<std::pair<std::string_view, int>, 9> errors{{{"EAGAIN", EAGAIN},
                                                                  {"EINTR", EINTR},
                                                                  {"ENOMEM", ENOMEM},
                                                                  {"EINVAL", EINVAL},
                                                                  {"EPERM", EPERM},
                                                                  {"ENOSPC", ENOSPC},
                                                                  {"ENOSYS", ENOSYS},
                                                                  {"EBADF", EBADF},
                                                                  {"EIO", EIO}}};

struct Rule {
  bool active = false;
  int error = 0;
  double rate = 1;
  unsigned long first = 0; // pthread_create, mmap (bytes), ioctl
  unsigned long last = ~0UL;
  unsigned long number = 0; // of the ioctl
};

struct Shim {
  std::array<Rule, kinds> rules{};
  std::array<std::atomic<unsigned long>, kinds> calls{};
  std::array<std::atomic<unsigned long>, kinds> failures{};
  bool allocator_intrudes = false;
  std::atomic<std::uint64_t> random{0x9e3779b97f4a7c15};

  Shim() {
    const char* const text = std::getenv("EBB_FAIL");
    std::string_view rest = text == nullptr ? "" : text;
    while (!rest.empty()) {
      const std::string_view item = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(rest.size(), item.size() + 1));
      if (!item.empty() && !parse(item)) {
        std::fprintf(stderr, "shim: cannot read '%.*s'\n", static_cast<int>(item.size()),
                     item.data());
        std::_Exit(99);
      }
    }
  }
  ~Shim() {
    for (unsigned kind = 0; kind < kinds; ++kind) {
      if (rules[kind].active) {
        std::fprintf(stderr, "shim: %lu %s failures\n", failures[kind].load(), names[kind]);
      }
    }
  }

  bool parse(std::string_view item) {
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      return false;
    }
    const std::string_view name = item.substr(0, equals);
    std::string_view how = item.substr(equals + 1);
    unsigned kind = 0;
    while (kind < kinds && names[kind] != name) {
      ++kind;
    }
    if (kind == kinds) {
      return false;
    }
    const std::string_view word = how.substr(0, how.find(':'));
    const std::string number(how.size() > word.size() ? how.substr(word.size() + 1) : "");
    if (kind == process_madvise_fails && word == "partial") {
      kind = process_madvise_partial;
    }
    Rule& rule = rules[kind];
    for (const auto& [text, value] : errors) {
      rule.error = word == text ? value : rule.error;
    }
    const bool plain = kind == process_madvise_partial || kind == eventfd_full ||
                       kind == clock_jumps || kind == intruder || kind == huge_pages_absent;
    rule.active = rule.error != 0 || plain;
    allocator_intrudes = allocator_intrudes || (kind == intruder && word == "allocator");
    if (kind == pthread_create_fails || kind == mmap_fails) {
      char* end = nullptr;
      rule.first = std::strtoul(number.c_str(), &end, 10);
      rule.last = *end == '-' ? std::strtoul(end + 1, nullptr, 10) : ~0UL;
    } else if (kind == ioctl_fails) {
      char* end = nullptr;
      rule.number = std::strtoul(number.c_str(), &end, 16);
      rule.first = *end == ':' ? std::strtoul(end + 1, nullptr, 10) : 1;
    } else if (!number.empty()) {
      rule.rate = std::strtod(number.c_str(), nullptr);
    }
    return rule.active;
  }

  // Whether this call of the kind fails.
  bool fails(Kind kind) {
    const Rule& rule = rules[kind];
    if (!rule.active) {
      return false;
    }
    // A step of splitmix64 for each call, of whatever thread.
    std::uint64_t value = random.fetch_add(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return static_cast<double>(value >> 11) * 0x1p-53 < rule.rate && count(kind);
  }
  bool count(Kind kind) {
    ++failures[kind];
    return true;
  }
};

Shim& shim() {
  static Shim instance;
  return instance;
}

template <typename Function> Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// While this thread makes a call that it must not make.
thread_local bool intruding = false;

int fail(Kind kind) {
  errno = shim().rules[kind].error;
  return -1;
}

// The vmm maps guest RAM far below what the kernel gives out by itself.
bool is_guest_ram(const iovec* range) {
  return reinterpret_cast<std::uintptr_t>(range->iov_base) < 0x1800'0000'0000;
}

// All of the first range and a page of the second.
long do_partly(int pidfd, const iovec* ranges, int advice) {
  long done = ::syscall(SYS_madvise, ranges[0].iov_base, ranges[0].iov_len, advice) == 0
                  ? static_cast<long>(ranges[0].iov_len)
                  : 0;
  if (done != 0 && ranges[1].iov_len > 4096 &&
      ::syscall(SYS_madvise, ranges[1].iov_base, 4096UL, advice) == 0) {
    done += 4096;
  }
  static_cast<void>(pidfd);
  return done;
}

} // namespace

extern "C" {

void* __libc_malloc(std::size_t bytes) noexcept; // glibc's own name for it

void* malloc(std::size_t bytes) noexcept {
  if (intruding) [[unlikely]] {
    static_cast<void>(::socket(AF_INET, SOCK_STREAM, 0));
  }
  return __libc_malloc(bytes);
}

int madvise(void* address, std::size_t bytes, int advice) noexcept {
  static auto* const real = next<int(void*, std::size_t, int)>("madvise");
  if (advice == MADV_DONTNEED && shim().rules[intruder].active) {
    intruding = shim().allocator_intrudes;
    static_cast<void>(::socket(AF_INET, SOCK_STREAM, 0));
    intruding = false;
    shim().count(intruder); // not reached in a sandbox
  }
  if (advice == MADV_HUGEPAGE && shim().rules[huge_pages_absent].active) {
    shim().count(huge_pages_absent);
    errno = EINVAL;
    return -1;
  }
  if ((advice == MADV_DONTNEED || advice == MADV_FREE) && shim().fails(madvise_fails)) {
    return fail(madvise_fails);
  }
  return real(address, bytes, advice);
}

ssize_t process_vm_readv(pid_t process, const iovec* local, unsigned long locals,
                         const iovec* remote, unsigned long remotes, unsigned long flags) noexcept {
  static auto* const real =
      next<ssize_t(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long)>(
          "process_vm_readv");
  if (shim().fails(process_vm_readv_fails)) {
    return fail(process_vm_readv_fails);
  }
  return real(process, local, locals, remote, remotes, flags);
}

ssize_t process_vm_writev(pid_t process, const iovec* local, unsigned long locals,
                          const iovec* remote, unsigned long remotes,
                          unsigned long flags) noexcept {
  static auto* const real =
      next<ssize_t(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long)>(
          "process_vm_writev");
  if (shim().fails(process_vm_writev_fails)) {
    return fail(process_vm_writev_fails);
  }
  return real(process, local, locals, remote, remotes, flags);
}

// process_madvise is called by number.
long syscall(long number, ...) noexcept {
  static auto* const real = next<long(long, ...)>("syscall");
  std::va_list list;
  va_start(list, number);
  std::array<long, 6> args{};
  for (long& arg : args) {
    arg = va_arg(list, long);
  }
  va_end(list);
  if (number == SYS_process_madvise && is_guest_ram(reinterpret_cast<const iovec*>(args[1]))) {
    if (shim().fails(process_madvise_fails)) {
      return fail(process_madvise_fails);
    }
    if (args[2] > 1 && shim().fails(process_madvise_partial)) {
      return do_partly(static_cast<int>(args[0]), reinterpret_cast<const iovec*>(args[1]),
                       static_cast<int>(args[3]));
    }
  }
  return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  static auto* const real = next<int(int, int, off_t, off_t)>("fallocate");
  return shim().fails(fallocate_fails) ? fail(fallocate_fails) : real(fd, mode, offset, bytes);
}

// A write of 1 is what all of the vmm's eventfds get, whichever way.
ssize_t write(int fd, const void* data, std::size_t bytes) {
  static auto* const real = next<ssize_t(int, const void*, std::size_t)>("write");
  std::uint64_t value = 0;
  if (bytes == sizeof value && shim().rules[eventfd_full].active) {
    std::memcpy(&value, data, sizeof value);
    if (value == 1) {
      const std::uint64_t most = ~std::uint64_t{0} - 1;
      const ssize_t written = real(fd, &most, sizeof most);
      if (written < 0 && errno == EAGAIN) {
        shim().count(eventfd_full);
      }
      return written;
    }
  }
  return real(fd, data, bytes);
}

int eventfd_write(int fd, eventfd_t value) {
  return write(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) noexcept {
  static auto* const real =
      next<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create");
  const Rule& rule = shim().rules[pthread_create_fails];
  const unsigned long number = ++shim().calls[pthread_create_fails];
  if (rule.active && number >= rule.first && number <= rule.last) {
    shim().count(pthread_create_fails);
    return rule.error;
  }
  return real(thread, attributes, run, argument);
}

void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd,
           off_t offset) noexcept {
  static auto* const real = next<void*(void*, std::size_t, int, int, int, off_t)>("mmap");
  const Rule& rule = shim().rules[mmap_fails];
  if (rule.active && bytes >= rule.first) {
    shim().count(mmap_fails);
    fail(mmap_fails);
    return MAP_FAILED;
  }
  return real(address, bytes, protection, flags, fd, offset);
}

int ioctl(int fd, unsigned long number, ...) noexcept {
  static auto* const real = next<int(int, unsigned long, ...)>("ioctl");
  std::va_list list;
  va_start(list, number);
  void* const argument = va_arg(list, void*);
  va_end(list);
  const Rule& rule = shim().rules[ioctl_fails];
  if (rule.active && number == rule.number && ++shim().calls[ioctl_fails] >= rule.first) {
    shim().count(ioctl_fails);
    return fail(ioctl_fails);
  }
  if (number == kvm_run && shim().fails(kvm_run_fails)) {
    return fail(kvm_run_fails);
  }
  return real(fd, number, argument);
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static auto* const real = next<int(clockid_t, timespec*)>("clock_gettime");
  const int result = real(clock, time);
  if (clock == CLOCK_REALTIME && shim().rules[clock_jumps].active) {
    const unsigned long number = shim().calls[clock_jumps]++;
    time->tv_sec += number % 2 == 0 ? 86400 * 30 : -86400 * 30;
    shim().count(clock_jumps);
  }
  return result;
}

} // extern "C"
