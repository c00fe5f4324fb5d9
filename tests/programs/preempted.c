// SPDX-License-Identifier: MIT
// Threads that compute without a call until others have computed, too: each has to be interrupted for
// the next one, however it came to run: new, out of a call that waited, or interrupted itself.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_ulong others, own;

// Until the first thread has gone on so often.
static void compute(int times) {
  while (times-- > 0) {
    for (const unsigned long at = others; others == at;) {
      own++;
    }
  }
}

static void* after_a_wait(void* ended) {
  const struct timespec time = {.tv_nsec = 20000000};
  nanosleep(&time, 0);
  compute(3);
  *(atomic_int*)ended = 1;
  return 0;
}

static void* at_once(void* ended) {
  compute(3);
  *(atomic_int*)ended = 1;
  return 0;
}

static void run(const char* how, void* (*body)(void*)) {
  atomic_int ended = 0;
  pthread_t thread;
  pthread_create(&thread, 0, body, &ended);
  while (!ended) {
    others++;
  }
  pthread_join(thread, 0);
  puts(how);
}

int main(void) {
  run("after a wait", after_a_wait);
  run("at once", at_once);
  run("after a wait, again", after_a_wait);
  return 0;
}
