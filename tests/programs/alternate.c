// SPDX-License-Identifier: MIT
// The alternate stack of signals: what is said of it while it is in use, and a stack that overflows.
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static char alternate[65536];
static sigjmp_buf back;

static void show(const char *when, int answer, const stack_t *stack) {
  printf("%s: %d %s, flags %d, own %d, %zu bytes\n", when, answer,
         answer < 0 ? strerrorname_np(errno) : "", stack->ss_flags, stack->ss_sp == alternate,
         stack->ss_size);
}

static void look(int number) {
  (void)number;
  stack_t stack = {0}, none = {.ss_flags = SS_DISABLE};
  show("within", sigaltstack(0, &stack), &stack);
  show("changed within", sigaltstack(&none, 0), &stack);
}

static void overflowed(int number, siginfo_t *cause, void *context) {
  (void)context;
  printf("signal %d, code %d\n", number, cause->si_code);
  siglongjmp(back, 1);
}

static int deeper(volatile char *above) {
  volatile char room[1000];
  room[0] = above[0];
  return deeper(room) + room[0];
}

int main(void) {
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, before;
  show("first", sigaltstack(&stack, &before), &before);
  stack.ss_flags = SS_ONSTACK;
  show("as in use", sigaltstack(&stack, &before), &before);
  stack.ss_flags = 4;
  show("wrong", sigaltstack(&stack, &before), &before);
  stack.ss_flags = 0;
  stack.ss_size = 100;
  show("small", sigaltstack(&stack, &before), &before);
  struct sigaction action = {.sa_handler = look, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, 0);
  raise(SIGUSR1);
  action.sa_flags = 0;
  sigaction(SIGUSR1, &action, 0);
  raise(SIGUSR1);
  stack.ss_size = sizeof alternate;
  show("again", sigaltstack(&stack, &before), &before);
  action.sa_sigaction = overflowed;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  sigaction(SIGSEGV, &action, 0);
  for (int times = 0; times < 2; ++times) {
    if (sigsetjmp(back, 1) == 0) {
      printf("%d\n", deeper(alternate));
    }
  }
  stack.ss_flags = SS_DISABLE;
  show("off", sigaltstack(&stack, &before), &before);
  show("last", sigaltstack(0, &before), &before);
  return 0;
}
