// SPDX-License-Identifier: MIT
// Timers and queued signals: while the program computes, sleeps, polls and reads.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static volatile sig_atomic_t last;
static siginfo_t told;

static void note(int signal, siginfo_t* info, void* context) {
  (void)context;
  ++came;
  last = signal;
  told = *info;
}

static void handle(int signal, int flags) {
  struct sigaction action = {.sa_flags = SA_SIGINFO | flags};
  action.sa_sigaction = note;
  sigaction(signal, &action, NULL);
}

static void expect(int holds, const char* what) {
  printf("%s %s\n", holds ? "ok  " : "FAIL", what);
}

static void arm(int which, long us, long interval_us) {
  const struct itimerval time = {{0, interval_us}, {us / 1000000, us % 1000000}};
  came = 0;
  setitimer(which, &time, NULL);
}

static long long now_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// Waits without any call.
static int computes_until(int times) {
  for (long long turn = 0; turn < 20000000000LL && came < times; ++turn) {
    __asm__ volatile("" ::: "memory");
  }
  return came >= times;
}

int main(void) {
  char buffer[16];
  struct itimerval left;
  handle(SIGALRM, SA_RESTART);
  handle(SIGVTALRM, 0);
  handle(SIGPROF, 0);

  arm(ITIMER_REAL, 10000, 0);
  expect(computes_until(1) && last == SIGALRM, "one comes while the program computes");
  getitimer(ITIMER_REAL, &left);
  expect(left.it_value.tv_sec == 0 && left.it_value.tv_usec == 0, "and is off then");
  arm(ITIMER_REAL, 5000, 5000);
  expect(computes_until(5), "one runs on");
  arm(ITIMER_REAL, 0, 0);
  arm(ITIMER_VIRTUAL, 10000, 0);
  expect(computes_until(1) && last == SIGVTALRM, "one of used time comes while it is used");
  arm(ITIMER_PROF, 10000, 0);
  usleep(50000);
  expect(came == 0, "and does not come in a sleep");
  expect(computes_until(1) && last == SIGPROF, "but behind it");

  arm(ITIMER_REAL, 20000, 0);
  expect(usleep(10000000) == -1 && errno == EINTR, "it ends a sleep");
  arm(ITIMER_REAL, 20000, 0);
  expect(pause() == -1 && errno == EINTR && came == 1, "it ends a pause");
  arm(ITIMER_REAL, 20000, 0);
  expect(poll(NULL, 0, -1) == -1 && errno == EINTR, "it ends a poll, whatever its handler wants");
  struct pollfd input = {0, POLLIN, 0};
  arm(ITIMER_REAL, 20000, 0);
  expect(poll(&input, 1, 10000) == 1 || errno == EINTR, "of the input, too");

  int ends[2];
  expect(pipe(ends) == 0, "a pipe");
  handle(SIGALRM, 0);
  arm(ITIMER_REAL, 20000, 0);
  expect(read(ends[0], buffer, 1) == -1 && errno == EINTR, "it ends a read of a pipe");
  signal(SIGALRM, SIG_IGN);
  handle(SIGUSR1, 0);
  arm(ITIMER_REAL, 10000, 0);
  expect(poll(NULL, 0, 30) == 0, "one that is ignored ends nothing");
  handle(SIGALRM, 0);
  alarm(100);
  expect(alarm(0) == 100, "an alarm says what was left");

  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
  event.sigev_value.sival_int = 42;
  handle(SIGRTMIN + 1, 0);
  expect(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "a timer is made");
  struct itimerspec time = {{0, 1000000}, {0, 5000000}};
  came = 0;
  timer_settime(timer, 0, &time, NULL);
  expect(computes_until(3) && told.si_code == SI_TIMER && told.si_value.sival_int == 42,
         "and says what it was told");
  sigset_t set;
  sigset_t before;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, &before);
  usleep(30000);
  expect(sigwaitinfo(&set, &told) == SIGRTMIN + 1, "one that is blocked is waited for");
  expect(told.si_overrun > 5 && timer_getoverrun(timer) > 5, "and has counted what was missed");
  timer_settime(timer, 0, &(struct itimerspec){0}, NULL);
  while (sigtimedwait(&set, NULL, &(struct timespec){0, 0}) > 0) {
  }
  time = (struct itimerspec){{0, 0}, {0, 0}};
  clock_gettime(CLOCK_REALTIME, &time.it_value);
  timer_delete(timer);
  timer_create(CLOCK_REALTIME, &event, &timer);
  time.it_value.tv_nsec += 10000000;
  if (time.it_value.tv_nsec >= 1000000000) {
    time.it_value.tv_nsec -= 1000000000;
    ++time.it_value.tv_sec;
  }
  timer_settime(timer, TIMER_ABSTIME, &time, NULL);
  expect(sigtimedwait(&set, &told, &(struct timespec){5, 0}) == SIGRTMIN + 1, "one of a time of day");
  timer_delete(timer);
  expect(timer_settime(timer, 0, &time, NULL) == -1 && errno == EINVAL, "one that is gone");
  const long long began = now_ns(CLOCK_MONOTONIC);
  const int nothing = sigtimedwait(&set, NULL, &(struct timespec){0, 20000000});
  expect(nothing == -1 && errno == EAGAIN && now_ns(CLOCK_MONOTONIC) - began >= 20000000,
         "a wait for a signal ends with its time");
  for (int value = 1; value <= 3; ++value) {
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = value});
  }
  for (int value = 1; value <= 3; ++value) {
    expect(sigwaitinfo(&set, &told) == SIGRTMIN + 1 && told.si_value.sival_int == value &&
               told.si_pid == getpid() && told.si_code == SI_QUEUE,
           "what is queued comes in order");
  }
  const long long used = now_ns(CLOCK_PROCESS_CPUTIME_ID);
  usleep(100000);
  expect(now_ns(CLOCK_PROCESS_CPUTIME_ID) - used < 50000000, "sleep is no used time");
  fflush(stdout);
  signal(SIGALRM, SIG_DFL);
  arm(ITIMER_REAL, 10000, 0);
  for (;;) {
    __asm__ volatile("" ::: "memory");
  }
}
