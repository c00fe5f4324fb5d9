// SPDX-License-Identifier: MIT
// What a process is, says of itself and may not do: users, capabilities, session, scheduling.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(const char *what, long answer) {
  printf("%s: %ld%s%s\n", what, answer, answer < 0 ? " " : "",
         answer < 0 ? strerrorname_np(errno) : "");
}
#define SHOW(...) show(#__VA_ARGS__, (long)(__VA_ARGS__))

static void name_and_traits(void) {
  char name[17] = {0};
  SHOW(prctl(PR_GET_NAME, name));
  SHOW(prctl(PR_SET_NAME, "a name that is much too long"));
  SHOW(prctl(PR_GET_NAME, name));
  printf("name: %s\n", name);
  int value = -1;
  SHOW(prctl(PR_SET_PDEATHSIG, 65));
  SHOW(prctl(PR_SET_PDEATHSIG, SIGTERM));
  SHOW(prctl(PR_GET_PDEATHSIG, &value));
  printf("death signal: %d\n", value);
  SHOW(prctl(PR_SET_PDEATHSIG, 0));
  SHOW(prctl(PR_GET_DUMPABLE));
  SHOW(prctl(PR_SET_DUMPABLE, 2));
  SHOW(prctl(PR_SET_DUMPABLE, 0));
  SHOW(prctl(PR_GET_DUMPABLE));
  SHOW(prctl(PR_SET_KEEPCAPS, 2));
  SHOW(prctl(PR_GET_KEEPCAPS));
  SHOW(prctl(PR_GET_SECCOMP));
  SHOW(prctl(PR_CAPBSET_READ, 1000));
  SHOW(prctl(PR_CAPBSET_READ, CAP_CHOWN) >= 0);
  SHOW(prctl(PR_GET_TIMERSLACK));
  SHOW(prctl(PR_SET_TIMERSLACK, 7));
  SHOW(prctl(PR_GET_TIMERSLACK));
  SHOW(prctl(PR_SET_TIMERSLACK, 0));
  SHOW(prctl(PR_GET_TIMERSLACK));
  SHOW(prctl(PR_GET_TSC, &value));
  SHOW(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
  SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 1));
  SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  SHOW(prctl(PR_SET_CHILD_SUBREAPER, 1));
  SHOW(prctl(PR_GET_CHILD_SUBREAPER, &value));
  printf("subreaper: %d\n", value);
  SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
  SHOW(prctl(PR_CAP_AMBIENT, 99, 0, 0, 0));
  SHOW(prctl(-1));
  char *const memory = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SHOW(prctl(PR_SET_VMA, 1, memory, 4096, "name"));
  SHOW(personality(0xffffffff));
  SHOW(personality(ADDR_NO_RANDOMIZE));
  SHOW(personality(0xffffffff));
}

static void who(void) {
  uid_t real = 1, effective = 2, saved = 3;
  SHOW(getresuid(&real, &effective, &saved));
  printf("same: %d\n", real == effective && saved == real && real == getuid());
  SHOW(setuid(-1));
  SHOW(setreuid(-1, -1));
  SHOW(setresuid(-1, -1, -1));
  SHOW(setresgid(getgid(), getegid(), -1));
  SHOW(setuid(geteuid()));
  SHOW(setgid(getegid()));
  SHOW(setfsuid(-1) == (int)geteuid());
  SHOW(getgroups(-1, 0));
  SHOW(syscall(SYS_setgroups, 65537, 0) < 0);
  struct __user_cap_header_struct header = {.version = 1, .pid = 0};
  struct __user_cap_data_struct data[2];
  SHOW(syscall(SYS_capget, &header, data));
  printf("version: %x\n", header.version);
  SHOW(syscall(SYS_capget, &header, data));
  SHOW((data[0].effective & ~data[0].permitted) == 0);
  SHOW(syscall(SYS_capset, &header, data));
  data[0].effective = data[0].permitted = data[1].effective = data[1].permitted = 0;
  data[0].inheritable = data[1].inheritable = 0;
  SHOW(syscall(SYS_capset, &header, data));
  data[0].permitted = 1;
  SHOW(syscall(SYS_capset, &header, data));
  header.pid = 1;
  SHOW(syscall(SYS_capset, &header, data));
  const struct sched_param priority = {.sched_priority = 5};
  SHOW(sched_setscheduler(0, SCHED_FIFO, &priority));
  const struct timeval time = {1, 2};
  SHOW(sethostname("x", 1));
  SHOW(settimeofday(&time, 0));
  SHOW(chroot("/"));
}

static void scheduling(void) {
  struct sched_param priority = {0};
  SHOW(sched_getscheduler(0));
  SHOW(sched_getparam(0, &priority));
  SHOW(sched_setscheduler(0, SCHED_BATCH, &priority));
  SHOW(sched_getscheduler(getpid()));
  SHOW(sched_setparam(0, &priority));
  SHOW(sched_setscheduler(0, 4, &priority));
  SHOW(sched_setscheduler(-1, 0, &priority));
  priority.sched_priority = 5;
  SHOW(sched_setscheduler(0, SCHED_OTHER, &priority));
  for (int policy = -1; policy < 7; ++policy) { // 7, SCHED_EXT, is not in every kernel
    printf("policy %d: %d %d\n", policy, sched_get_priority_min(policy),
           sched_get_priority_max(policy));
  }
  struct timespec slice;
  SHOW(sched_rr_get_interval(0, &slice));
  cpu_set_t none, first;
  CPU_ZERO(&none);
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  SHOW(sched_setaffinity(0, sizeof none, &none));
  SHOW(sched_setaffinity(0, sizeof first, &first));
  unsigned cpu = 9, node = 9;
  SHOW(syscall(SYS_getcpu, &cpu, &node, 0));
  printf("cpu %u, node %u\n", cpu, node);
  SHOW(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
  SHOW(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 5)));
  SHOW(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
  SHOW(syscall(SYS_ioprio_get, 77, 0));
  SHOW(syscall(SYS_membarrier, 0, 0, 0) >= 0);
  SHOW(syscall(SYS_membarrier, 77, 0, 0));
}

static void children_and_memory(void) {
  int status = 0;
  siginfo_t child;
  memset(&child, 7, sizeof child);
  SHOW(wait(&status));
  SHOW(waitpid(-1, &status, WNOHANG));
  SHOW(waitpid(-1, &status, 0x1000));
  SHOW(waitid(P_ALL, 0, &child, WEXITED));
  printf("cleared: %d %d\n", child.si_signo, child.si_pid);
  SHOW(waitid(P_ALL, 0, &child, 0));
  SHOW(mlockall(MCL_CURRENT | MCL_FUTURE));
  SHOW(mlockall(0));
  SHOW(mlockall(77));
  SHOW(munlockall());
  SHOW(close_range(5, 3, 0));
  for (int count = 0; count < 5; ++count) {
    dup(0);
  }
  const int last = dup(0);
  SHOW(close_range(last - 2, last, CLOSE_RANGE_CLOEXEC));
  SHOW(fcntl(last, F_GETFD));
  SHOW(fcntl(last - 3, F_GETFD));
  SHOW(close_range(last - 1, ~0U, 0));
  SHOW(fcntl(last, F_GETFD));
  SHOW(fcntl(last - 2, F_GETFD));
}

int main(int count, char **arguments) {
  (void)count;
  (void)arguments;
  name_and_traits();
  scheduling();
  children_and_memory();
  who();
  return 0;
}
