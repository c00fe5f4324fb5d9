// SPDX-License-Identifier: MIT
// Signals from outside: while the program computes, or waits. Ends with status 7 when one has come;
// "ignores" and "blocks" wait for another that may, "computes" for one that comes in the middle of
// computing: one that comes earlier does not count, so it takes several.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

volatile sig_atomic_t came; // for the assembler, too

// Waits for `came` with no system call.
void compute(void);
extern const char compute_end[];
__asm__(".text\ncompute:\n\tcmpl $0, came(%rip)\n\tje compute\n\tret\ncompute_end:\n");

static void note(int signal) {
  came = signal;
}

static void note_if_computing(int signal, siginfo_t* info, void* context) {
  const uintptr_t rip = (uintptr_t)((const ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
  (void)info;
  if (rip >= (uintptr_t)compute && rip < (uintptr_t)compute_end) {
    came = signal;
  }
}

int main(int count, char** words) {
  const char* const how = count > 1 ? words[1] : "";
  signal(SIGINT, note);
  if (strcmp(how, "computes") == 0) {
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = note_if_computing;
    sigaction(SIGINT, &action, NULL);
  }
  if (strcmp(how, "ignores") == 0) {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, note);
  }
  const int waits =
      strcmp(how, "polls") == 0 || strcmp(how, "selects") == 0 || strcmp(how, "suspends") == 0;
  if (waits || strcmp(how, "blocks") == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
  }
  if (strcmp(how, "blocks") == 0) {
    signal(SIGTERM, note);
  }
  if (strcmp(how, "default") == 0) {
    signal(SIGINT, SIG_DFL);
  }
  puts("ready");
  fflush(stdout);
  // Blocked until it waits, or a signal might come before.
  sigset_t none;
  sigemptyset(&none);
  if (strcmp(how, "polls") == 0) {
    const struct timespec long_time = {1000, 0};
    const int polled = ppoll(NULL, 0, &long_time, &none);
    printf("polled %d, interrupted %d\n", polled, errno == EINTR);
  } else if (strcmp(how, "selects") == 0) {
    const int selected = pselect(0, NULL, NULL, NULL, NULL, &none);
    printf("selected %d, interrupted %d\n", selected, errno == EINTR);
  } else if (strcmp(how, "suspends") == 0) {
    const int suspended = sigsuspend(&none);
    printf("suspended %d, interrupted %d\n", suspended, errno == EINTR);
  } else {
    compute();
  }
  printf("came %d\n", (int)came);
  return 7;
}
