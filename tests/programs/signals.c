// SPDX-License-Identifier: MIT
// Signals of one thread to itself, and faults: what handlers get, and what is as before afterwards.
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int came;
static volatile int order[16];
static sigjmp_buf back;
static char alternate[1 << 16];

static void note(int signal, siginfo_t* info, void* context) {
  const ucontext_t* const at = context;
  order[came++ % 16] = signal;
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, NULL, &blocked);
  printf("  signal %d code %d mine %d blocks itself %d 12 %d saved 12 %d stack %d rip %d\n", signal,
         info->si_code, info->si_pid == getpid() && info->si_uid == getuid(),
         sigismember(&blocked, signal), sigismember(&blocked, 12), sigismember(&at->uc_sigmask, 12),
         (int)(at->uc_stack.ss_flags), at->uc_mcontext.gregs[REG_RIP] != 0);
}

static void handle(int signal, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, 12);
  sigaction(signal, &action, NULL);
}

static void change(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(how, &set, NULL);
}

static void send(void) {
  handle(SIGUSR1, note, 0);
  handle(SIGUSR2, note, SA_RESETHAND);
  handle(40, note, 0);
  printf("raise %d\n", raise(SIGUSR1));
  printf("kill %d\n", kill(getpid(), SIGUSR1));
  printf("syscall %ld\n", syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
  change(SIG_BLOCK, SIGUSR1);
  change(SIG_BLOCK, 40);
  raise(40);
  raise(SIGUSR1);
  raise(SIGUSR1);
  sigset_t waiting;
  sigpending(&waiting);
  printf("waits %d %d %d\n", sigismember(&waiting, SIGUSR1), sigismember(&waiting, 40), came);
  sigset_t none;
  sigemptyset(&none);
  came = 0;
  sigprocmask(SIG_SETMASK, &none, NULL);
  printf("came %d, first handler to run %d\n", came, order[0]);
  signal(SIGUSR1, SIG_IGN);
  printf("ignored %d\n", raise(SIGUSR1));
  change(SIG_BLOCK, SIGUSR1);
  signal(SIGUSR1, SIG_DFL);
  raise(SIGUSR1);
  signal(SIGUSR1, SIG_IGN); // forgets it
  change(SIG_UNBLOCK, SIGUSR1);
  errno = 0;
  printf("errors %d %d %d %d\n", kill(getpid(), 65), errno, kill(getpid(), -1), errno);
  printf("%d %d %d\n", kill(999999, 0), errno, kill(getpid(), 0));
  struct sigaction action;
  printf("%d %d\n", sigaction(SIGKILL, NULL, &action), sigaction(SIGUSR2, NULL, &action));
  raise(SIGUSR2);
  sigaction(SIGUSR2, NULL, &action);
  printf("reset %d\n", action.sa_handler == SIG_DFL);
}

static void fault(int signal, siginfo_t* info, void* context) {
  ucontext_t* const at = context;
  printf("  fault %d code %d address %p trap %d error %d\n", signal, info->si_code,
         signal == SIGSEGV ? info->si_addr : NULL, (int)at->uc_mcontext.gregs[REG_TRAPNO],
         (int)at->uc_mcontext.gregs[REG_ERR]);
  siglongjmp(back, 1);
}

// Goes on behind the instruction, whose length is in RCX.
static void skip(int signal, siginfo_t* info, void* context) {
  ucontext_t* const at = context;
  (void)info;
  printf("  skips %d\n", signal);
  at->uc_mcontext.gregs[REG_RIP] += at->uc_mcontext.gregs[REG_RCX];
  at->uc_mcontext.gregs[REG_RAX] = 77;
}

static void faults(void) {
  static const int signals[] = {SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS};
  for (size_t index = 0; index < sizeof signals / sizeof *signals; ++index) {
    handle(signals[index], fault, 0);
  }
  if (sigsetjmp(back, 1) == 0) {
    *(volatile int*)8 = 1;
  }
  if (sigsetjmp(back, 1) == 0) {
    (void)*(volatile int*)16;
  }
  if (sigsetjmp(back, 1) == 0) {
    __asm__ volatile("xorl %%ecx, %%ecx; movl $1, %%eax; cltd; idivl %%ecx" ::
                         : "eax", "ecx", "edx");
  }
  if (sigsetjmp(back, 1) == 0) {
    __asm__ volatile("ud2");
  }
  if (sigsetjmp(back, 1) == 0) {
    __asm__ volatile("int3");
  }
  if (sigsetjmp(back, 1) == 0) {
    __asm__ volatile("hlt"); // a general protection fault
  }
  handle(SIGILL, skip, 0);
  long answer = 0;
  __asm__ volatile("ud2" : "=a"(answer) : "c"(2));
  printf("skipped %ld\n", answer);
  handle(SIGSEGV, skip, 0);
  __asm__ volatile("movl (%%rdx), %%eax" : "=a"(answer) : "c"(2), "d"(64));
  printf("skipped %ld\n", answer);
  // A stack that is gone, and a handler with one of its own.
  const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  printf("stack %d\n", sigaltstack(&stack, NULL));
  handle(SIGSEGV, note, SA_ONSTACK);
  handle(SIGUSR1, note, SA_ONSTACK);
  raise(SIGUSR1);
  handle(SIGSEGV, fault, SA_ONSTACK);
  if (sigsetjmp(back, 1) == 0) {
    __asm__ volatile("movq $4096, %%rsp; pushq %%rax" ::: "memory");
  }
}

static void damage(int signal) {
  (void)signal;
  __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm15;"
                   "fninit; fldpi; std; cld; stc" ::
                       : "xmm0", "xmm1", "xmm15", "cc");
}

// All that a handler may change is as before.
static void registers(void) {
  signal(SIGUSR1, damage);
  static const uint64_t in[4] = {0x0123456789abcdef, 0xfedcba9876543210, 5, 6};
  uint64_t out[4] = {0, 0, 0, 0};
  uint64_t kept[4] = {0, 0, 0, 0};
  const double before = 1.5;
  double after = 0;
  long pid = getpid();
  long answer = SYS_kill;
  __asm__ volatile(
      "movdqu (%[in]), %%xmm0\n\t"
      "movdqu 16(%[in]), %%xmm15\n\t"
      "fldl %[before]\n\t"
      "movq $11, %%rdx\n\t"
      "movq $12, %%r8\n\t"
      "movq $13, %%r9\n\t"
      "movq $14, %%r10\n\t"
      "syscall\n\t"
      "movdqu %%xmm0, (%[out])\n\t"
      "movdqu %%xmm15, 16(%[out])\n\t"
      "fstpl %[after]\n\t"
      "movq %%rdx, (%[kept])\n\t"
      "movq %%r8, 8(%[kept])\n\t"
      "movq %%r9, 16(%[kept])\n\t"
      "movq %%r10, 24(%[kept])\n\t"
      : "+a"(answer), "+D"(pid), [after] "=m"(after)
      : "S"((long)SIGUSR1), [in] "r"(in), [out] "r"(out), [kept] "r"(kept), [before] "m"(before)
      : "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm15", "st", "memory", "cc");
  printf("answer %ld vectors %d x87 %g kept %d %d %d %d\n", answer, memcmp(in, out, sizeof in),
         after, (int)kept[0], (int)kept[1], (int)kept[2], (int)kept[3]);
}

static int depth;
static void nest(int signal) {
  if (++depth < 20) {
    raise(signal);
  }
}

static void many(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = nest;
  action.sa_flags = SA_NODEFER;
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  printf("nested %d\n", depth);
  signal(SIGUSR1, damage);
  for (int round = 0; round < 2000; ++round) {
    raise(SIGUSR1);
  }
  printf("many\n");
}

int main(int count, char** words) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char* const how = count > 1 ? words[1] : "";
  if (strcmp(how, "abort") == 0) {
    abort();
  }
  if (strcmp(how, "term") == 0) {
    raise(SIGTERM);
  }
  if (strcmp(how, "blocked-fault") == 0) {
    handle(SIGSEGV, fault, 0);
    change(SIG_BLOCK, SIGSEGV);
    *(volatile int*)8 = 1;
  }
  if (strcmp(how, "no-stack") == 0) {
    handle(SIGSEGV, fault, 0);
    __asm__ volatile("movq $4096, %%rsp; pushq %%rax" ::: "memory");
  }
  if (strcmp(how, "bad-return") == 0) {
    __asm__ volatile("movq $4096, %%rsp; movl $15, %%eax; syscall" ::: "memory");
  }
  send();
  faults();
  registers();
  many();
  return 0;
}
