// SPDX-License-Identifier: MIT
// Files that exist to be waited for: eventfd, timerfd, signalfd, epoll; and memfd, with its seals.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static void show(const char *what, long answer) {
  printf("%s: %ld%s%s\n", what, answer, answer < 0 ? " " : "",
         answer < 0 ? strerrorname_np(errno) : "");
}
#define SHOW(...) show(#__VA_ARGS__, (long)(__VA_ARGS__))

static void show_file(int file) {
  struct stat is;
  struct statfs of;
  const int both = fstat(file, &is) | fstatfs(file, &of);
  printf("%d %o %ld, links %ld, in %lx, flags %o\n", both, is.st_mode, (long)is.st_size,
         (long)is.st_nlink, (long)of.f_type, fcntl(file, F_GETFL));
  SHOW(lseek(file, 5, SEEK_SET));
  char byte;
  SHOW(pread(file, &byte, 1, 0));
  SHOW(ftruncate(file, 3));
  SHOW(mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
}

static short events_of(int file, short wanted) {
  struct pollfd one = {.fd = file, .events = wanted};
  poll(&one, 1, 0);
  return one.revents;
}

static void event_files(void) {
  uint64_t value = 0;
  SHOW(eventfd(0, 2));
  const int counter = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
  show_file(counter);
  SHOW(events_of(counter, POLLIN | POLLOUT));
  SHOW(read(counter, &value, 7));
  SHOW(read(counter, &value, sizeof value));
  printf("value %lu\n", value);
  SHOW(read(counter, &value, sizeof value));
  value = UINT64_MAX;
  SHOW(write(counter, &value, sizeof value));
  value = UINT64_MAX - 1;
  SHOW(write(counter, &value, sizeof value));
  SHOW(events_of(counter, POLLIN | POLLOUT));
  value = 1;
  SHOW(write(counter, &value, sizeof value));
  SHOW(write(counter, &value, 4));
  const int semaphore = eventfd(2, EFD_SEMAPHORE);
  SHOW(read(semaphore, &value, sizeof value));
  printf("value %lu\n", value);
  SHOW(read(semaphore, &value, sizeof value));
  SHOW(events_of(semaphore, POLLIN | POLLOUT));
  int readable = 0;
  SHOW(ioctl(semaphore, FIONREAD, &readable));
  close(counter);
  close(semaphore);
}

static void timers(void) {
  SHOW(timerfd_create(77, 0));
  SHOW(timerfd_create(CLOCK_MONOTONIC, 1));
  SHOW(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  show_file(timer);
  uint64_t times = 0;
  struct itimerspec when = {.it_value = {0, 20000000}, .it_interval = {0, 10000000}}, before;
  SHOW(read(timer, &times, sizeof times));
  SHOW(timerfd_settime(timer, 0, &when, &before));
  printf("before: %ld\n", before.it_value.tv_nsec + before.it_interval.tv_nsec);
  SHOW(timerfd_gettime(timer, &before));
  printf("left: %d, every %ld\n",
         before.it_value.tv_nsec > 0 && before.it_value.tv_nsec <= 20000000,
         before.it_interval.tv_nsec);
  SHOW(events_of(timer, POLLIN));
  struct pollfd one = {.fd = timer, .events = POLLIN};
  SHOW(poll(&one, 1, 5000));
  SHOW(read(timer, &times, 4));
  SHOW(read(timer, &times, sizeof times));
  printf("at least once: %d\n", times >= 1);
  fcntl(timer, F_SETFL, 0);
  SHOW(read(timer, &times, sizeof times));
  when.it_value.tv_nsec = 1000000000;
  SHOW(timerfd_settime(timer, 0, &when, 0));
  SHOW(timerfd_settime(timer, 77, &when, 0));
  SHOW(timerfd_settime(0, 0, &when, 0));
  const int clock = timerfd_create(CLOCK_REALTIME, 0);
  clock_gettime(CLOCK_REALTIME, &when.it_value);
  when.it_interval.tv_nsec = 0;
  SHOW(timerfd_settime(clock, TFD_TIMER_ABSTIME, &when, 0));
  SHOW(read(clock, &times, sizeof times));
  printf("times %lu\n", times);
  SHOW(timerfd_gettime(clock, &before));
  printf("left: %ld\n", before.it_value.tv_nsec);
  when.it_value = (struct timespec){0, 0};
  SHOW(timerfd_settime(timer, 0, &when, 0));
  fcntl(timer, F_SETFL, O_NONBLOCK);
  SHOW(read(timer, &times, sizeof times));
  SHOW(write(timer, &times, sizeof times));
  close(timer);
  close(clock);
}

static void signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_BLOCK, &set, 0);
  SHOW(signalfd(0, &set, 0));
  SHOW(syscall(SYS_signalfd4, -1, &set, 4, 0));
  const int file = signalfd(-1, &set, SFD_NONBLOCK);
  show_file(file);
  struct signalfd_siginfo got[4];
  SHOW(read(file, got, sizeof got));
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGUSR1);
  const union sigval value = {.sival_int = 7};
  sigqueue(getpid(), SIGRTMIN, value);
  sigqueue(getpid(), SIGRTMIN, value);
  SHOW(events_of(file, POLLIN));
  SHOW(read(file, got, 127));
  SHOW(read(file, got, 300));
  for (int index = 0; index < 2; ++index) {
    printf("signal %d, code %d, own %d, value %d\n", got[index].ssi_signo, got[index].ssi_code,
           got[index].ssi_pid == (unsigned)getpid(), got[index].ssi_int);
  }
  SHOW(read(file, got, sizeof got));
  SHOW(read(file, got, sizeof got));
  fcntl(file, F_SETFL, 0);
  ualarm(50000, 0);
  SHOW(read(file, got, sizeof got));
  printf("signal %d\n", got[0].ssi_signo);
  sigdelset(&set, SIGUSR1);
  SHOW(signalfd(file, &set, 0) == file);
  kill(getpid(), SIGUSR1);
  SHOW(events_of(file, POLLIN));
  signal(SIGUSR1, SIG_IGN);
  close(file);
}

static void memory_files(void) {
  SHOW(memfd_create("x", 0x100));
  char name[300];
  memset(name, 'n', sizeof name);
  name[250] = 0;
  SHOW(memfd_create(name, 0));
  name[249] = 0;
  const int fixed = memfd_create(name, MFD_CLOEXEC);
  SHOW(fcntl(fixed, F_GET_SEALS));
  SHOW(fcntl(fixed, F_ADD_SEALS, F_SEAL_GROW));
  const int file = memfd_create("some", MFD_ALLOW_SEALING);
  struct stat is;
  fstat(file, &is);
  printf("%o %ld, links %ld, flags %o\n", is.st_mode, (long)is.st_size, (long)is.st_nlink,
         fcntl(file, F_GETFL));
  SHOW(fcntl(file, F_GET_SEALS));
  SHOW(write(file, "text", 4));
  SHOW(ftruncate(file, 8192));
  char *const shared = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  printf("%s\n", shared);
  strcpy(shared + 4096, "behind");
  SHOW(pread(file, name, 7, 4096));
  printf("%.7s\n", name);
  SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
  SHOW(fcntl(file, F_ADD_SEALS, 0x1000));
  SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_GROW));
  SHOW(ftruncate(file, 8193));
  SHOW(pwrite(file, "x", 1, 8192));
  SHOW(ftruncate(file, 8191));
  SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK));
  SHOW(ftruncate(file, 4096));
  munmap(shared, 8192);
  SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
  SHOW(pwrite(file, "x", 1, 0));
  SHOW(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
  SHOW(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0) == MAP_FAILED ? -1 : 0);
  char *const looked = mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0);
  printf("%s\n", looked);
  SHOW(mprotect(looked, 4096, PROT_READ | PROT_WRITE));
  SHOW(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_SEAL));
  SHOW(fcntl(file, F_GET_SEALS));
  SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_SEAL));
  SHOW(fcntl(0, F_GET_SEALS));
  close(file);
  close(fixed);
}

// ---- epoll -------------------------------------------------------------------------------------

static int list;

static int control(int operation, int file, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u64 = 100 + (uint64_t)file};
  return epoll_ctl(list, operation, file, &event);
}

static void told(const char *when, int most) {
  struct epoll_event events[8];
  const int count = epoll_wait(list, events, most, 0);
  printf("%s: %d", when, count);
  uint64_t files = 0;
  uint32_t all = 0;
  for (int index = 0; index < count; ++index) {
    files += most == 1 ? 0 : events[index].data.u64;
    all |= most == 1 ? 0 : events[index].events;
  }
  printf(", %lu, %x\n", files, all);
}

static void put(int file, const char *text) {
  if (write(file, text, strlen(text)) < 0) {
    printf("write: %s\n", strerrorname_np(errno));
  }
}

static void take(int file, size_t bytes) {
  char text[100];
  printf("taken: %zd\n", read(file, text, bytes));
}

static void interests(void) {
  int ends[2];
  pipe2(ends, O_NONBLOCK);
  SHOW(epoll_create(0));
  SHOW(epoll_create1(1));
  list = epoll_create1(EPOLL_CLOEXEC);
  show_file(list);
  const int plain = memfd_create("plain", 0);
  SHOW(control(EPOLL_CTL_ADD, plain, EPOLLIN));
  SHOW(control(EPOLL_CTL_ADD, open("/", O_RDONLY), EPOLLIN));
  SHOW(control(EPOLL_CTL_ADD, open("/dev/null", O_RDONLY), EPOLLIN));
  SHOW(control(EPOLL_CTL_ADD, list, EPOLLIN));
  SHOW(control(EPOLL_CTL_ADD, 900, EPOLLIN));
  SHOW(control(77, ends[0], EPOLLIN));
  SHOW(control(EPOLL_CTL_MOD, ends[0], EPOLLIN));
  SHOW(control(EPOLL_CTL_DEL, ends[0], EPOLLIN));
  SHOW(epoll_ctl(list, EPOLL_CTL_ADD, ends[0], 0));
  SHOW(epoll_ctl(ends[0], EPOLL_CTL_ADD, ends[1], &(struct epoll_event){0}));
  struct epoll_event events[2];
  SHOW(epoll_wait(list, events, 0, 0));
  SHOW(epoll_wait(list, events, -1, 0));
  SHOW(epoll_wait(ends[0], events, 1, 0));
  SHOW(epoll_wait(900, events, 1, 0));
  SHOW(epoll_wait(list, events, 1, 3));

  SHOW(control(EPOLL_CTL_ADD, ends[0], EPOLLIN));
  SHOW(control(EPOLL_CTL_ADD, ends[0], EPOLLIN));
  told("empty", 8);
  put(ends[1], "abc");
  SHOW(epoll_wait(list, 0, 1, 0));
  told("level", 8);
  told("level again", 8);
  SHOW(control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET));
  told("edge", 8);
  told("edge again", 8);
  put(ends[1], "d");
  told("more", 8);
  told("no more", 8);
  take(ends[0], 2);
  told("less", 8);
  take(ends[0], 50);
  told("none", 8);
  put(ends[1], "e");
  take(ends[0], 50);
  told("come and gone", 8);
  put(ends[1], "f");
  told("come", 8);
  SHOW(control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT));
  told("once", 8);
  put(ends[1], "g");
  told("no second", 8);
  SHOW(control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLRDNORM | EPOLLONESHOT));
  told("once more", 8);
  SHOW(control(EPOLL_CTL_MOD, ends[0], EPOLLEXCLUSIVE | EPOLLIN));
  SHOW(control(EPOLL_CTL_ADD, ends[1], EPOLLEXCLUSIVE | EPOLLIN | EPOLLONESHOT));
  SHOW(control(EPOLL_CTL_ADD, ends[1], EPOLLEXCLUSIVE | EPOLLOUT));
  SHOW(control(EPOLL_CTL_MOD, ends[1], EPOLLOUT));
  SHOW(control(EPOLL_CTL_DEL, ends[1], 0));
  SHOW(control(EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLET));
  told("room", 8);
  char much[70000];
  memset(much, 'm', sizeof much);
  write(ends[1], much, sizeof much);
  take(ends[0], 1);
  told("full", 8);
  read(ends[0], much, sizeof much);
  told("room again", 8);
  told("told", 8);

  // Descriptors that are closed, and copies of them.
  const int copy = dup(ends[0]);
  SHOW(control(EPOLL_CTL_ADD, copy, EPOLLIN));
  SHOW(control(EPOLL_CTL_MOD, ends[0], EPOLLIN));
  put(ends[1], "h");
  told("both", 8);
  close(copy);
  told("the closed one, too", 8);
  told("one at a time", 1); // of two that are ready; which is nobody's promise
  close(ends[0]);
  told("nobody reads", 8);
  close(ends[1]);
  told("all gone", 8);

  // Edges of what hangs up, and of counters and timers.
  pipe(ends);
  control(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET | EPOLLRDHUP);
  told("quiet", 8);
  close(ends[1]);
  told("hung up", 8);
  told("still", 8);
  close(ends[0]);
  const int counter = eventfd(0, EFD_NONBLOCK);
  control(EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLOUT | EPOLLET);
  told("writable", 8);
  told("still", 8);
  const uint64_t one = 1;
  write(counter, &one, sizeof one);
  told("added", 8);
  write(counter, &one, sizeof one);
  told("added again", 8);
  told("still", 8);
  take(counter, 8);
  told("taken", 8);
  told("still", 8);
  close(counter);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  control(EPOLL_CTL_ADD, timer, EPOLLIN | EPOLLET);
  struct itimerspec when = {.it_value = {0, 2000000}};
  timerfd_settime(timer, 0, &when, 0);
  SHOW(epoll_wait(list, events, 2, 5000));
  told("time is told once", 8);
  timerfd_settime(timer, 0, &when, 0);
  SHOW(epoll_wait(list, events, 2, 5000));
  SHOW(epoll_wait(list, events, 2, 2));
  close(timer);

  // Lists in lists.
  int chain[8];
  for (int index = 0; index < 8; ++index) {
    chain[index] = epoll_create1(0);
  }
  struct epoll_event any = {.events = EPOLLIN};
  for (int index = 0; index + 1 < 8; ++index) {
    printf("deeper %d", index);
    SHOW(epoll_ctl(chain[index], EPOLL_CTL_ADD, chain[index + 1], &any));
  }
  SHOW(epoll_ctl(chain[2], EPOLL_CTL_ADD, chain[0], &any));
  for (int index = 0; index + 1 < 8; ++index) {
    epoll_ctl(chain[index], EPOLL_CTL_DEL, chain[index + 1], 0);
  }
  for (int index = 6; index >= 0; --index) {
    printf("higher %d", index);
    SHOW(epoll_ctl(chain[index], EPOLL_CTL_ADD, chain[index + 1], &any));
  }
  pipe(ends);
  SHOW(epoll_ctl(chain[7], EPOLL_CTL_ADD, ends[0], &any));
  SHOW(events_of(chain[6], POLLIN));
  put(ends[1], "i");
  SHOW(events_of(chain[6], POLLIN));
  SHOW(epoll_wait(chain[6], events, 2, 0));
  take(ends[0], 1);
  SHOW(events_of(chain[6], POLLIN));
  SHOW(epoll_wait(chain[6], events, 2, 0));
}

static volatile int handled;
static void handle(int number) { handled = number; }

static void interrupted(void) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, 0);
  sigset_t set;
  sigemptyset(&set);
  struct epoll_event event;
  ualarm(50000, 0);
  SHOW(epoll_pwait(list, &event, 1, 60000, &set));
  printf("handled %d\n", handled);
  SHOW(kill(getpid(), SIGALRM)); // which is blocked here, and not there
  handled = 0;
  const struct timespec time = {60, 0};
  SHOW(syscall(SYS_epoll_pwait2, list, &event, 1, &time, &set, 8));
  printf("handled %d\n", handled);
  const struct timespec wrong = {0, 1000000000}, none = {0, 0};
  SHOW(syscall(SYS_epoll_pwait2, list, &event, 1, &wrong, 0, 0));
  SHOW(syscall(SYS_epoll_pwait2, list, &event, 1, &none, 0, 0));
}

int main(void) {
  event_files();
  timers();
  memory_files();
  interests();
  signals();
  interrupted();
  return 0;
}
