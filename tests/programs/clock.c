// SPDX-License-Identifier: MIT
// The time by the vdso and by system calls is one time.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long ns_of(struct timespec time) {
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long by_library(clockid_t clock) {
  struct timespec time = {-1, -1};
  clock_gettime(clock, &time);
  return ns_of(time);
}

static long long by_call(clockid_t clock) {
  struct timespec time = {-1, -1};
  syscall(SYS_clock_gettime, clock, &time);
  return ns_of(time);
}

int main(void) {
  printf("vdso %d\n", getauxval(AT_SYSINFO_EHDR) != 0);
  static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME,
                                     CLOCK_MONOTONIC_RAW};
  for (size_t index = 0; index < sizeof clocks / sizeof *clocks; ++index) {
    int backwards = 0;
    long long last = by_call(clocks[index]);
    for (int round = 0; round < 5000; ++round) {
      const long long library = by_library(clocks[index]);
      const long long call = by_call(clocks[index]);
      backwards += library < last || call < library;
      last = call;
    }
    printf("clock %d: backwards %d\n", (int)clocks[index], backwards);
  }
  for (long round = 0; round < 100000; ++round) {
    (void)by_library(CLOCK_MONOTONIC); // not a call each
  }
  struct timeval day = {0, 0};
  gettimeofday(&day, NULL);
  const long long realtime = by_library(CLOCK_REALTIME);
  const long long apart = realtime - (day.tv_sec * 1000000000LL + day.tv_usec * 1000LL);
  const time_t seconds = time(NULL);
  printf("one time %d %d\n", apart >= 0 && apart < 1000000000,
         seconds - realtime / 1000000000 <= 1);
  struct timespec used;
  printf("used %d\n", clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
  const int unknown = clock_gettime(77, &used);
  printf("unknown %d %d\n", unknown, errno == EINVAL);
  return 0;
}
