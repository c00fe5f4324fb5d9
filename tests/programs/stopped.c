// SPDX-License-Identifier: MIT
// Processes that stop and go on: by themselves, in the middle of a read, and ended meanwhile. Each
// step waits for the one before.
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];

static void say(const char* when, int status) {
  printf("%s: %s %d\n", when,
         WIFSTOPPED(status)     ? "stopped"
         : WIFCONTINUED(status) ? "continued"
         : WIFSIGNALED(status)  ? "ended by"
                                : "exited",
         WIFSTOPPED(status)     ? WSTOPSIG(status)
         : WIFCONTINUED(status) ? 0
         : WIFSIGNALED(status)  ? WTERMSIG(status)
                                : WEXITSTATUS(status));
}

static void wait_for(const char* when, pid_t child, int options) {
  int status = 0;
  if (waitpid(child, &status, options) != child) {
    printf("%s: nobody\n", when);
    return;
  }
  say(when, status);
}

// Stops when it runs, and reads a byte then.
static pid_t make_reader(void) {
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    raise(SIGSTOP);
    _exit(read(ends[0], &byte, 1) == 1 ? byte : 99);
  }
  return child;
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  if (pipe(ends) != 0) {
    return 1;
  }
  pid_t child = make_reader();
  wait_for("itself", child, WUNTRACED);
  kill(child, SIGCONT);
  wait_for("again", child, WCONTINUED);
  kill(child, SIGTSTP);
  wait_for("in its read", child, WUNTRACED);
  if (write(ends[1], "\7\10", 2) != 2) {
    return 1;
  }
  char byte = 0;
  printf("left for others: %d\n", (int)read(ends[0], &byte, 1));
  kill(child, SIGCONT);
  wait_for("the end", child, 0);

  child = make_reader();
  wait_for("another", child, WUNTRACED);
  kill(child, SIGTERM);
  printf("it waits: %d\n", (int)waitpid(child, NULL, WNOHANG));
  kill(child, SIGCONT);
  wait_for("its end", child, 0);

  child = make_reader();
  wait_for("a third", child, WUNTRACED);
  kill(child, SIGKILL);
  wait_for("at once", child, 0);
  return 0;
}
