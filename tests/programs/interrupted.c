// SPDX-License-Identifier: MIT
// Signals from outside: while the program computes, sleeps, or waits for one. Ends with status 7
// when one has come; "ignores" and "blocks" wait for another that may.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static volatile double computed;

static void note(int signal) {
  came = signal;
}

int main(int count, char** words) {
  const char* const how = count > 1 ? words[1] : "";
  signal(SIGINT, note);
  if (strcmp(how, "ignores") == 0) {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, note);
  }
  if (strcmp(how, "blocks") == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGTERM, note);
  }
  if (strcmp(how, "default") == 0) {
    signal(SIGINT, SIG_DFL);
  }
  puts("ready");
  fflush(stdout);
  if (strcmp(how, "sleeps") == 0) {
    struct timespec left = {0, 0};
    const struct timespec long_time = {1000, 0};
    const int slept = nanosleep(&long_time, &left);
    printf("slept %d, interrupted %d, left %d\n", slept, errno == EINTR, left.tv_sec > 900);
  } else if (strcmp(how, "pauses") == 0) {
    const int paused = pause();
    printf("paused %d, interrupted %d\n", paused, errno == EINTR);
  } else {
    while (came == 0) {
      computed += 1.5; // no system call
    }
  }
  printf("came %d\n", (int)came);
  return 7;
}
