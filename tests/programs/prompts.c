// SPDX-License-Identifier: MIT
// Prompts, and waits for a line or SIGINT, which is let through by the wait alone: so none can be
// missed that comes between the two. Argument: how often.
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <unistd.h>

static volatile int signals;

static void count(int signal) {
  (void)signal;
  ++signals;
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 1;
  const struct sigaction action = {.sa_handler = count};
  sigaction(SIGINT, &action, 0);
  sigset_t set;
  sigset_t waiting;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, &waiting);
  for (int round = 1; round <= rounds; ++round) {
    if (write(1, ">", 1) != 1) {
      return 1;
    }
    fd_set input;
    FD_ZERO(&input);
    FD_SET(0, &input);
    struct pollfd one = {.fd = 0, .events = POLLIN};
    const struct timespec patience = {.tv_sec = 20};
    const int ready = round % 2 != 0 ? pselect(1, &input, 0, 0, &patience, &waiting)
                                     : ppoll(&one, 1, &patience, &waiting);
    if (ready >= 0 || signals != round) {
      printf("round %d: %d ready, %d signals\n", round, ready, signals);
      return 1;
    }
  }
  printf("%d signals\n", signals);
  return 0;
}
