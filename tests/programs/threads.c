/* SPDX-License-Identifier: MIT
 * What threads do to each other, told in an order that does not depend on who runs when.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* ---- in turn ---- */
static int turn;
static long turns;
static __thread long mine;

static void* in_turn(void* number) {
  mine = (long)number;
  for (int round = 0; round < 500; ++round) {
    pthread_mutex_lock(&lock);
    while (turn != mine) {
      pthread_cond_wait(&changed, &lock);
    }
    turn = (int)(mine + 1) % 4;
    ++turns;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
  }
  return (void*)(mine * 10);
}

static void take_turns(void) {
  pthread_t threads[4];
  long sum = 0;
  for (long number = 0; number < 4; ++number) {
    pthread_create(&threads[number], NULL, in_turn, (void*)number);
  }
  for (size_t index = 0; index < COUNT(threads); ++index) {
    void* result = NULL;
    pthread_join(threads[index], &result);
    sum += (long)result;
  }
  printf("%ld turns, results %ld, main's own %ld\n", turns, sum, mine);
}

/* ---- registers of threads that never wait ---- */
static atomic_int wrong;

/* The upper halves of a vector register, over a loop without a call and then over calls that let others run. */
__attribute__((target("avx"))) static int upper_halves_stay(double value) {
  double found[4];
  __asm__ volatile("vbroadcastsd %1, %%ymm7\n"
                   "mov $20000000, %%rcx\n"
                   "1: dec %%rcx\n"
                   "jnz 1b\n"
                   "mov $100, %%ebx\n"
                   "2: mov %2, %%eax\n"
                   "syscall\n"
                   "dec %%ebx\n"
                   "jnz 2b\n"
                   "vmovupd %%ymm7, %0\n"
                   "vzeroupper\n"
                   : "=m"(found)
                   : "m"(value), "i"(SYS_sched_yield)
                   : "rax", "rbx", "rcx", "r11", "xmm7", "memory");
  return found[0] == value && found[1] == value && found[2] == value && found[3] == value;
}

static void* keep_registers(void* seed) {
  const uint32_t rounding = (uint32_t)(long)seed % 4; /* of MXCSR and of the x87 */
  uint32_t sse = 0x1f80u | rounding << 13;
  uint16_t x87 = (uint16_t)(0x37fu | rounding << 10);
  __asm__ volatile("ldmxcsr %0\n fldcw %1" : : "m"(sse), "m"(x87));
  double values[8];
  uint64_t whole[8];
  for (int index = 0; index < 8; ++index) {
    values[index] = (double)(long)seed + index / 8.0;
    whole[index] = (uint64_t)(long)seed * 0x0101010101010101u + (uint64_t)index;
  }
  struct timespec began;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &began);
  do {
    for (int round = 0; round < 100000; ++round) {
      double sum = 0;
      uint64_t all = 0;
      long double old = (long double)(long)seed;
      for (int index = 0; index < 8; ++index) {
        sum += values[index];
        all ^= whole[index];
        old = old * 1.0L + index;
      }
      if (sum != (double)(long)seed * 8 + 3.5 || old != (long double)(long)seed + 28) {
        atomic_fetch_add(&wrong, 1);
      }
      __asm__ volatile("" : "+r"(all));
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 < 60);
  if (__builtin_cpu_supports("avx") && !upper_halves_stay((double)(long)seed)) {
    atomic_fetch_add(&wrong, 1);
  }
  __asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(sse), "=m"(x87));
  if ((sse >> 13 & 3) != rounding || (x87 >> 10 & 3) != rounding) {
    atomic_fetch_add(&wrong, 1);
  }
  return NULL;
}

static void compute_side_by_side(void) {
  pthread_t threads[3];
  for (long number = 0; number < 3; ++number) {
    pthread_create(&threads[number], NULL, keep_registers, (void*)(number + 1));
  }
  struct timespec began;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &began);
  usleep(20000); /* beside them */
  clock_gettime(CLOCK_MONOTONIC, &now);
  const long ms = (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000;
  for (size_t index = 0; index < COUNT(threads); ++index) {
    pthread_join(threads[index], NULL);
  }
  printf("%d wrong, slept at least 20 ms: %d\n", atomic_load(&wrong), ms >= 20);
}

/* ---- signals ---- */
static atomic_int handled_by;
static atomic_int ready;

static void handle(int signal) {
  (void)signal;
  atomic_store(&handled_by, (int)syscall(SYS_gettid));
}

static void* be_hit(void* tid) {
  *(int*)tid = (int)syscall(SYS_gettid);
  atomic_store(&ready, 1);
  while (atomic_load(&handled_by) == 0) { /* without a call */
  }
  return NULL;
}

static void* wait_for_signal(void* set) {
  int signal = 0;
  const int error = sigwait(set, &signal);
  return (void*)(long)(error != 0 ? -error : signal);
}

static void send_signals(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handle;
  sigaction(SIGUSR1, &action, NULL);
  pthread_t thread;
  int tid = 0;
  pthread_create(&thread, NULL, be_hit, &tid);
  while (atomic_load(&ready) == 0) {
    sched_yield();
  }
  const int error = pthread_kill(thread, SIGUSR1);
  pthread_join(thread, NULL);
  printf("pthread_kill %d, handled by that thread: %d\n", error, atomic_load(&handled_by) == tid);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  pthread_create(&thread, NULL, wait_for_signal, &set);
  kill(getpid(), SIGUSR2);
  void* signal = NULL;
  pthread_join(thread, &signal);
  printf("sigwait got SIGUSR2: %d\n", (long)signal == SIGUSR2);
}

/* ---- locks of all kinds ---- */
static pthread_mutex_t robust;
static pthread_mutex_t prioritised;
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static long counter;

static void* die_with_lock(void* unused) {
  pthread_mutex_lock(&robust);
  return unused;
}
static void* count(void* unused) {
  pthread_barrier_wait(&barrier);
  for (int round = 0; round < 20000; ++round) {
    pthread_mutex_lock(&prioritised);
    ++counter;
    pthread_mutex_unlock(&prioritised);
    if (round % 1000 == 0) {
      pthread_rwlock_rdlock(&shared);
      sched_yield();
      pthread_rwlock_unlock(&shared);
      pthread_rwlock_wrlock(&shared);
      pthread_rwlock_unlock(&shared);
    }
  }
  return unused;
}

static void lock_all_kinds(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &attributes);
  pthread_t threads[4];
  pthread_create(&threads[0], NULL, die_with_lock, NULL);
  pthread_join(threads[0], NULL);
  const int died = pthread_mutex_lock(&robust);
  const int consistent = pthread_mutex_consistent(&robust);
  printf("robust: %s, %d, %d\n", died == EOWNERDEAD ? "EOWNERDEAD" : strerror(died), consistent,
         pthread_mutex_unlock(&robust));
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&prioritised, &attributes);
  pthread_barrier_init(&barrier, NULL, COUNT(threads));
  for (size_t index = 0; index < COUNT(threads); ++index) {
    pthread_create(&threads[index], NULL, count, NULL);
  }
  for (size_t index = 0; index < COUNT(threads); ++index) {
    pthread_join(threads[index], NULL);
  }
  printf("counted %ld\n", counter);
  pthread_mutex_lock(&lock);
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 5000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  const int late = pthread_cond_timedwait(&changed, &lock, &until);
  pthread_mutex_unlock(&lock);
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  const int timed = sem_timedwait(&semaphore, &until);
  printf("late: %d %d\n", late == ETIMEDOUT, timed == -1 && errno == ETIMEDOUT);
}

/* ---- cancellation ---- */
static int pipe_ends[2];
static void clean_up(void* what) {
  printf("cleaned up: %s\n", (const char*)what);
}
static void* read_for_ever(void* unused) {
  char byte = 0;
  pthread_cleanup_push(clean_up, "reader");
  while (read(pipe_ends[0], &byte, 1) >= 0) {
  }
  pthread_cleanup_pop(0);
  return unused;
}
static void* compute_for_ever(void* unused) {
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  for (;;) {
  }
  return unused;
}

static void cancel(void) {
  pthread_t thread;
  void* result = NULL;
  if (pipe(pipe_ends) != 0) {
    perror("pipe");
  }
  pthread_create(&thread, NULL, read_for_ever, NULL);
  usleep(2000);
  pthread_cancel(thread);
  pthread_join(thread, &result);
  printf("canceled in a call: %d\n", result == PTHREAD_CANCELED);
  pthread_create(&thread, NULL, compute_for_ever, NULL);
  usleep(2000);
  pthread_cancel(thread);
  pthread_join(thread, &result);
  printf("canceled while computing: %d\n", result == PTHREAD_CANCELED);
}

/* ---- many, and the end ---- */
static atomic_int ended;
static void* end_at_once(void* unused) {
  atomic_fetch_add(&ended, 1);
  return unused;
}
static void make_many(void) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  int made = 0;
  for (int index = 0; index < 2000; ++index) {
    pthread_t thread;
    made += pthread_create(&thread, &attributes, end_at_once, NULL) == 0 ? 1 : 0;
  }
  while (atomic_load(&ended) < made) {
    sched_yield();
  }
  printf("made %d\n", made);
}

static void on_timer(union sigval value) {
  pthread_mutex_lock(&lock);
  turn = value.sival_int;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}
static void use_timer(void) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = on_timer;
  event.sigev_value.sival_int = 42;
  timer_t timer;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  const struct itimerspec soon = {.it_value = {.tv_nsec = 2000000}};
  pthread_mutex_lock(&lock);
  timer_settime(timer, 0, &soon, NULL);
  while (turn != 42) {
    pthread_cond_wait(&changed, &lock);
  }
  pthread_mutex_unlock(&lock);
  puts("a timer's thread has run");
}

static void* say_last_word(void* unused) {
  usleep(2000);
  puts("the last word");
  if (unused != NULL) {
    exit(5);
  }
  return NULL;
}

int main(int argc, char** argv) {
  pthread_t thread;
  if (argc > 1 && strcmp(argv[1], "exec") == 0) {
    pthread_create(&thread, NULL, compute_for_ever, NULL);
    pthread_create(&thread, NULL, wait_for_signal, &(sigset_t){0});
    usleep(2000);
    char* const arguments[] = {argv[0], "again", NULL};
    execv(argv[0], arguments);
    perror("execv");
    return 1;
  }
  if (argc > 1 && strcmp(argv[1], "again") == 0) {
    printf("alone again: %d\n", syscall(SYS_gettid) == getpid());
    return 3;
  }
  if (argc > 1) { /* the first thread ends first */
    pthread_create(&thread, NULL, say_last_word, NULL);
    pthread_exit(NULL);
  }
  take_turns();
  compute_side_by_side();
  send_signals();
  lock_all_kinds();
  cancel();
  make_many();
  use_timer();
  fflush(stdout);
  pthread_create(&thread, NULL, say_last_word, argv);
  pthread_exit(NULL); /* the timer's thread is there still */
}
