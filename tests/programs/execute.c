// SPDX-License-Identifier: MIT
// One program instead of another, many times: what is refused, and what the next one finds. The
// same as on the host.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char** environ;

static char* self;

static long raw(const char* path, const void* arguments, const void* environment) {
  return syscall(SYS_execve, path, arguments, environment);
}

static void refused(const char* what, const char* path, const void* arguments) {
  const long result = raw(path, arguments, environ);
  printf("%s: %ld %s\n", what, result, strerrorname_np(errno));
}

static void at(const char* what, int folder, const char* path, int flags) {
  char* const arguments[] = {(char*)"x", 0};
  const long result = syscall(SYS_execveat, folder, path, arguments, environ, flags);
  printf("%s: %ld %s\n", what, result, strerrorname_np(errno));
}

static void write_file(const char* path, const char* text, mode_t mode) {
  const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
  if (write(file, text, strlen(text)) < 0) {
    perror(path);
  }
  fchmod(file, mode);
  close(file);
}

static void refusals(void) {
  /* Of this process alone: on the host others run the same. */
  char text_path[32];
  char link_path[32];
  char itself[40];
  char below[40];
  snprintf(text_path, sizeof text_path, "/tmp/text-%d", getpid());
  snprintf(link_path, sizeof link_path, "/tmp/link-%d", getpid());
  snprintf(itself, sizeof itself, "#!%s\n", text_path);
  snprintf(below, sizeof below, "%s/x", text_path);
  char* const one[] = {(char*)"x", 0};
  char* const wild[] = {(char*)"x", (char*)8, 0};
  refused("no such file", "/nothing/there", one);
  refused("a folder", "/", one);
  refused("no path", "", one);
  refused("a wild path", (const char*)16, one);
  refused("wild arguments", "/bin/true", (void*)24);
  refused("a wild argument", "/bin/true", wild);
  write_file(text_path, "no program\n", 0700);
  refused("text", text_path, one);
  write_file(text_path, "echo\n", 0600);
  refused("not executable", text_path, one);
  write_file(text_path, "#!/nothing/there\n", 0700);
  refused("a script without its interpreter", text_path, one);
  write_file(text_path, itself, 0700);
  refused("a script that runs itself", text_path, one);
  refused("below a file", below, one);
  char* const much = malloc(200000);
  memset(much, 'a', 199999);
  much[199999] = 0;
  char* const long_one[] = {(char*)"x", much, 0};
  refused("a long argument", "/bin/true", long_one);
  much[131071] = 0; // the longest there may be
  char** const many = calloc(40, sizeof *many);
  for (int index = 0; index < 39; ++index) {
    many[index] = much;
  }
  refused("long arguments", "/bin/true", many);
  free(many);
  free(much);
  at("unknown flags", AT_FDCWD, "/bin/true", 1);
  at("no descriptor", 99, "true", 0);
  at("a file as a folder", open(text_path, O_RDONLY), "true", 0);
  at("nothing", AT_FDCWD, "", 0);
  unlink(link_path);
  if (symlink("/bin/true", link_path) == 0) {
    at("a link", AT_FDCWD, link_path, AT_SYMLINK_NOFOLLOW);
  }
  unlink(link_path);
  unlink(text_path);
}

static void handler(int signal) {
  (void)signal;
}

static void run(const char* step, const char* more) {
  fflush(stdout);
  char* const arguments[] = {self, (char*)step, (char*)more, 0};
  execv(self, arguments);
  perror("execv");
  exit(1);
}

// What the first leaves, and the second finds.
static void leave(void) {
  open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  const int kept = open("/etc/passwd", O_RDONLY);
  lseek(kept, 5, SEEK_SET);
  signal(SIGUSR1, handler);
  signal(SIGUSR2, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, 0);
  raise(SIGHUP);
  stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
  sigaltstack(&stack, 0);
  umask(027);
  if (chdir("/usr") != 0) {
    perror("chdir");
  }
  char* const big = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(big, 1, 64 << 20);
  setenv("LEFT", "over", 1);
  char number[16];
  sprintf(number, "%d", kept);
  run("found", number);
}

static void find(const char* number) {
  struct sigaction action;
  sigaction(SIGUSR1, 0, &action);
  printf("handler: %d\n", action.sa_handler == SIG_DFL);
  sigaction(SIGUSR2, 0, &action);
  printf("ignored: %d\n", action.sa_handler == SIG_IGN);
  sigset_t set;
  sigprocmask(SIG_BLOCK, 0, &set);
  printf("blocked: %d\n", sigismember(&set, SIGHUP));
  sigpending(&set);
  printf("waits: %d\n", sigismember(&set, SIGHUP));
  stack_t stack;
  sigaltstack(0, &stack);
  printf("stack: %d\n", stack.ss_flags == SS_DISABLE);
  const int kept = atoi(number);
  printf("position: %ld, closed: %d\n", (long)lseek(kept, 0, SEEK_CUR), fcntl(kept - 1, F_GETFD));
  char folder[64];
  printf("in %s, umask %o, LEFT=%s\n", getcwd(folder, sizeof folder), umask(0), getenv("LEFT"));
  printf("named: %d\n", strcmp((const char*)getauxval(AT_EXECFN), self) == 0);
  char place[4096] = {0};
  printf("is: %d\n", readlink("/proc/self/exe", place, sizeof place - 1) > 0 && strcmp(place, self) == 0);
  run("again", "0");
}

// Every one takes memory and leaves it.
static void again(int count) {
  char* const more = malloc(16 << 20);
  memset(more, count, 16 << 20);
  if (count < 40) {
    char number[16];
    sprintf(number, "%d", count + 1);
    run("again", number);
  }
  printf("the last of many\n");
  fflush(stdout);
  char* const environment[] = {(char*)"ONLY=this", 0};
  char* const none[] = {0};
  const int env = open("/usr/bin/env", O_PATH | O_CLOEXEC);
  syscall(SYS_execveat, env, "", none, environment, AT_EMPTY_PATH);
  perror("execveat");
}

int main(int argc, char** argv) {
  self = realpath("/proc/self/exe", 0);
  if (argc < 3) {
    refusals();
    leave();
  }
  if (strcmp(argv[1], "found") == 0) {
    find(argv[2]);
  }
  again(atoi(argv[2]));
  return 1;
}
