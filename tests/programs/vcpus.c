/* SPDX-License-Identifier: MIT
 * What can go wrong between threads that run at the same time, on several processors: told in numbers that do not
 * depend on who runs when.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, PAGE = 4096 };

static void need(int is_so, const char* what) {
  if (!is_so) {
    printf("%s: errno %d\n", what, errno);
    fflush(stdout);
    _exit(1);
  }
}

static void with_threads(void* (*body)(void*), const char* told) {
  pthread_t threads[THREADS];
  for (long index = 0; index < THREADS; ++index) {
    need(pthread_create(&threads[index], NULL, body, (void*)index) == 0, "pthread_create");
  }
  long sum = 0;
  for (int index = 0; index < THREADS; ++index) {
    void* result = NULL;
    need(pthread_join(threads[index], &result) == 0, "pthread_join");
    sum += (long)result;
  }
  printf("%s: %ld\n", told, sum);
}

/* ---- one lock, one counter; and one that hands priorities on ---- */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t inheriting;
static long counted;
static void* count(void* unused) {
  (void)unused;
  for (int round = 0; round < 3000; ++round) {
    pthread_mutex_t* const mine = round % 4 == 0 ? &inheriting : &lock;
    static long by_lock[2];
    pthread_mutex_lock(mine);
    long* const is = &by_lock[mine == &lock];
    const long before = *is;
    if (round % 64 == 0) {
      sched_yield();
    }
    *is = before + 1;
    counted = by_lock[0] + by_lock[1];
    pthread_mutex_unlock(mine);
  }
  return NULL;
}

/* ---- a robust lock whose owners die ---- */
static pthread_mutex_t robust;
static void* die_with_lock(void* unused) {
  (void)unused;
  const int error = pthread_mutex_lock(&robust);
  if (error == EOWNERDEAD) {
    pthread_mutex_consistent(&robust);
  } else if (error != 0) {
    return (void*)1000L;
  }
  return (void*)1L;
}

/* ---- a page that comes and goes while others read it ---- */
static char* volatile page;
static atomic_int readers;
static __thread sigjmp_buf back;
static atomic_long faults;
static void on_fault(int signal) {
  (void)signal;
  atomic_fetch_add(&faults, 1);
  siglongjmp(back, 1);
}
static void* read_page(void* number) {
  if ((long)number == 0) {
    while (atomic_load(&readers) < THREADS - 1) {
      sched_yield();
    }
    for (int round = 0; round < 200; ++round) {
      need(mprotect(page, PAGE, PROT_NONE) == 0, "mprotect");
      /* Nobody reads it now, or reads what was there. */
      need(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
      if (round % 10 == 0) {
        need(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page, "mmap");
      }
    }
    atomic_store(&readers, -1000);
    return NULL;
  }
  long wrong = 0;
  atomic_fetch_add(&readers, 1);
  while (atomic_load(&readers) > 0) {
    if (sigsetjmp(back, 1) == 0) {
      wrong += page[(long)number] != 0;
    }
  }
  return (void*)wrong;
}

/* ---- memory that one gives back and another gets ---- */
static void* map_and_unmap(void* number) {
  long wrong = 0;
  for (int round = 0; round < 150; ++round) {
    const size_t bytes = (size_t)(1 + (round * 7 + (int)(long)number) % 40) * PAGE;
    unsigned char* const memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    for (size_t at = 0; at < bytes; at += PAGE) {
      wrong += memory[at] != 0;
      memory[at] = (unsigned char)((long)number + 1);
    }
    for (size_t at = 0; at < bytes; at += PAGE) {
      wrong += memory[at] != (unsigned char)((long)number + 1);
    }
    need(munmap(memory, bytes) == 0, "munmap");
  }
  return (void*)wrong;
}

/* ---- a file's pages, touched by all for the first time; where nothing was, and in the place of memory ---- */
enum { FILE_PAGES = 64 };
static unsigned char file_bytes[FILE_PAGES * PAGE];
static const unsigned char* volatile shown;
static atomic_int there;
static void* read_file(void* number) {
  /* Without a call, or whoever comes first would hold the others up. */
  for (atomic_fetch_add(&there, 1); atomic_load(&there) < THREADS;) {
  }
  /* One faults, and others come while its page and those around it are on their way. */
  for (volatile long wait = 0; wait < (long)number * 2000; ++wait) {
  }
  const size_t first = (size_t)(long)number * 8 * PAGE;
  return (void*)(long)(memcmp((const char*)shown + first, file_bytes + first, sizeof file_bytes - first) != 0);
}
static void file_pages(void) {
  const int file = open("/bin/bash", O_RDONLY);
  need(pread(file, file_bytes, sizeof file_bytes, 0) == sizeof file_bytes, "pread");
  for (int round = 0; round < 12; ++round) {
    void* const memory = round % 2 == 0 ? NULL : mmap(NULL, sizeof file_bytes, PROT_READ | PROT_WRITE,
                                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shown = mmap(memory, sizeof file_bytes, PROT_READ, MAP_PRIVATE | (memory == NULL ? 0 : MAP_FIXED), file, 0);
    need(shown != MAP_FAILED, "mmap");
    atomic_store(&there, 0);
    with_threads(read_file, memory == NULL ? "file" : "file in memory");
    need(munmap((void*)shown, sizeof file_bytes) == 0, "munmap");
  }
  close(file);
}

/* ---- page tables that come and go while the other processors rest ---- */
static void tables(void) {
  enum { BYTES = 8 << 20 };
  for (int round = 0; round < 200; ++round) {
    char* const memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    memory[round * PAGE] = memory[BYTES / 2] = 1;
    need(munmap(memory, BYTES) == 0, "munmap");
  }
  puts("tables");
}

/* ---- calls from new places, by several at once, while these become jumps ---- */
typedef long (*caller)(void);
static unsigned char* code;
enum { SITES = 200, SITE_BYTES = 64 };
static void* call_from_new_places(void* unused) {
  (void)unused;
  const long self = syscall(SYS_getpid);
  long wrong = 0;
  for (int round = 0; round < 4; ++round) {
    for (int site = 0; site < SITES; ++site) {
      wrong += ((caller)(void*)(code + site * SITE_BYTES))() != self;
    }
  }
  return (void*)wrong;
}

/* ---- signals to threads that compute ---- */
static atomic_long got;
static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&got, 1);
}
static atomic_int computes;
static void* compute_until_told(void* unused) {
  (void)unused;
  atomic_fetch_add(&computes, 1);
  while (atomic_load(&computes) > 0) {
  }
  return NULL;
}
static void signals(void) {
  pthread_t threads[THREADS];
  for (int index = 0; index < THREADS; ++index) {
    pthread_create(&threads[index], NULL, compute_until_told, NULL);
  }
  while (atomic_load(&computes) < THREADS) {
    sched_yield();
  }
  for (int round = 1; round <= 20; ++round) {
    for (int index = 0; index < THREADS; ++index) {
      need(pthread_kill(threads[index], SIGUSR1) == 0, "pthread_kill");
    }
    while (atomic_load(&got) < (long)round * THREADS) {
      sched_yield();
    }
  }
  atomic_store(&computes, -1000);
  for (int index = 0; index < THREADS; ++index) {
    pthread_join(threads[index], NULL);
  }
  printf("signals: %ld\n", atomic_load(&got));
}

/* ---- time that one thread uses while the one that wants to know waits ---- */
static atomic_int ran_out;
static void on_used(int signal) {
  (void)signal;
  atomic_store(&ran_out, 1);
}
static void* compute_until_ran_out(void* unused) {
  (void)unused;
  atomic_store(&computes, 1);
  while (!atomic_load(&ran_out)) {
  }
  return NULL;
}
static void used_time(void) {
  pthread_t thread;
  signal(SIGVTALRM, on_used);
  atomic_store(&computes, 0);
  pthread_create(&thread, NULL, compute_until_ran_out, NULL);
  while (!atomic_load(&computes)) {
    sched_yield();
  }
  const struct itimerval time = {.it_value = {.tv_usec = 20000}};
  need(setitimer(ITIMER_VIRTUAL, &time, NULL) == 0, "setitimer");
  pthread_join(thread, NULL);
  puts("used time ran out");
}

/* ---- processes that are made while others compute; and what they see ---- */
static volatile long moving[2];
static void* keep_moving(void* unused) {
  (void)unused;
  atomic_fetch_add(&computes, 1);
  while (atomic_load(&computes) > 0) {
    pthread_mutex_lock(&lock);
    ++moving[0];
    ++moving[1];
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}
static void processes(void) {
  pthread_t threads[2];
  atomic_store(&computes, 0);
  for (int index = 0; index < 2; ++index) {
    pthread_create(&threads[index], NULL, keep_moving, NULL);
  }
  while (atomic_load(&computes) < 2) {
    sched_yield();
  }
  int good = 0;
  for (int round = 0; round < 10; ++round) {
    pthread_mutex_lock(&lock);
    const pid_t child = fork();
    if (child == 0) {
      /* It has one thread, and what the others did not do any more. */
      const long is = moving[0];
      for (volatile int wait = 0; wait < 100000; ++wait) {
      }
      _exit(moving[0] == is && moving[1] == is ? 7 : 8);
    }
    pthread_mutex_unlock(&lock);
    int status = 0;
    need(waitpid(child, &status, 0) == child, "waitpid");
    good += WIFEXITED(status) && WEXITSTATUS(status) == 7;
  }
  atomic_store(&computes, -1000);
  for (int index = 0; index < 2; ++index) {
    pthread_join(threads[index], NULL);
  }
  printf("processes: %d\n", good);
}

/* ---- threads without end, and an end for all ---- */
static void* compute_for_ever(void* unused) {
  (void)unused;
  for (;;) {
    atomic_fetch_add(&got, 1);
  }
  return NULL;
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1 && strcmp(argv[1], "again") == 0) {
    puts("another program");
    return 9;
  }
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&inheriting, &kind);
  with_threads(count, "counts");
  printf("counted: %ld\n", counted);

  pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_NONE);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &kind);
  with_threads(die_with_lock, "robust");

  signal(SIGSEGV, on_fault);
  page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  with_threads(read_page, "page");
  signal(SIGSEGV, SIG_DFL);

  with_threads(map_and_unmap, "maps");

  file_pages();
  tables();

  code = mmap(NULL, SITES * SITE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int site = 0; site < SITES; ++site) {
    /* mov $39, %eax; syscall; mov %rax, %rdx; mov %rdx, %rax; ret: getpid */
    static const unsigned char body[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x89, 0xc2, 0x48, 0x89, 0xd0, 0xc3};
    memcpy(code + site * SITE_BYTES, body, sizeof body);
  }
  with_threads(call_from_new_places, "places");

  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  signals();
  used_time();
  processes();

  pthread_t for_ever[THREADS];
  for (int index = 0; index < THREADS; ++index) {
    pthread_create(&for_ever[index], NULL, compute_for_ever, NULL);
  }
  if (argc > 1 && strcmp(argv[1], "exec") == 0) {
    execl(argv[0], argv[0], "again", NULL);
  }
  exit(5);
}
