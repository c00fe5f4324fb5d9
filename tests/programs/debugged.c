// SPDX-License-Identifier: MIT
// For a debugger: calls, variables, system calls one behind the other, and, with an argument, a
// fault.
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long sum;
static volatile int* nowhere;

static long call_twice(void) {
  long first = 0;
  long second = 0;
  // With an instruction of its own behind each SYSCALL.
  __asm__ volatile("syscall\n\t"
                   ".globl behind_call\n"
                   "behind_call:\n\t"
                   "cmp $-4095, %0\n\t"
                   "nop"
                   : "=a"(first)
                   : "a"(SYS_getpid)
                   : "rcx", "r11", "memory");
  second = syscall(SYS_getpid);
  return first + second;
}

__attribute__((noinline)) static void add_to_sum(int value) {
  sum += value;
}

int main(int argc, char** argv) {
  for (int round = 0; round < 5; ++round) {
    add_to_sum(round);
    call_twice();
  }
  if (argc > 1 && strcmp(argv[1], "fault") == 0) {
    *nowhere = 1;
  }
  return (int)sum;
}
