// SPDX-License-Identifier: MIT
// What memory shows that files are mapped to: the same as on the host. In the working directory and
// in /tmp, which are different file systems.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1UL << 20)

// Not a whole number of pages, and larger than what a touch brings.
static const size_t file_bytes = 3 * MIB + 1234;

static unsigned char byte_at(size_t offset) {
  return (unsigned char)(offset * 7 + offset / PAGE);
}

static sigjmp_buf back;
static const char* code;
static void* address;

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)context;
  code = signal == SIGBUS && info->si_code == BUS_ADRERR     ? "SIGBUS, BUS_ADRERR"
         : signal == SIGSEGV && info->si_code == SEGV_ACCERR ? "SIGSEGV, SEGV_ACCERR"
         : signal == SIGSEGV && info->si_code == SEGV_MAPERR ? "SIGSEGV, SEGV_MAPERR"
                                                             : "something else";
  address = info->si_addr;
  siglongjmp(back, 1);
}

static void touch(const char* what, volatile unsigned char* at, int write) {
  if (sigsetjmp(back, 1) == 0) {
    if (write) {
      *at = 1;
    }
    printf("  %s: %d\n", what, *at);
  } else {
    printf("  %s: %s, %s\n", what, code, address == (void*)at ? "there" : "elsewhere");
  }
}

static void check(const char* what, const unsigned char* at, size_t from, size_t bytes) {
  size_t wrong = 0;
  for (size_t index = 0; index < bytes; ++index) {
    const size_t offset = from + index;
    wrong += at[index] != (offset < file_bytes ? byte_at(offset) : 0);
  }
  printf("  %s: %zu of %zu bytes differ\n", what, wrong, bytes);
}

static unsigned char* map(size_t bytes, int protection, int flags, int file, size_t offset) {
  void* const got = mmap(0, bytes, protection, flags, file, (off_t)offset);
  if (got == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return got;
}

static void in(const char* path) {
  printf("in %s\n", path[0] == '/' ? path : "the working directory");
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  unsigned char* const content = malloc(file_bytes);
  for (size_t offset = 0; offset < file_bytes; ++offset) {
    content[offset] = byte_at(offset);
  }
  if (file < 0 || write(file, content, file_bytes) != (ssize_t)file_bytes) {
    perror(path);
    exit(1);
  }
  close(file);
  file = open(path, O_RDONLY);
  const size_t whole = (file_bytes + PAGE - 1) / PAGE * PAGE;

  // From the end to the beginning, and from somewhere in the middle of it.
  unsigned char* all = map(file_bytes, PROT_READ, MAP_SHARED, file, 0);
  check("last page", all + whole - PAGE, whole - PAGE, PAGE);
  check("first page", all, 0, PAGE);
  check("everything", all, 0, whole);
  unsigned char* const later = map(2 * MIB, PROT_READ, MAP_PRIVATE, file, MIB + 5 * PAGE);
  check("from an offset", later, MIB + 5 * PAGE, MIB);

  // What a call reads that nobody has touched, into the same file's mapping and out of it.
  unsigned char* const fresh = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  printf("  pread into it: %zd\n", pread(file, fresh + MIB / 2, 100, 17));
  check("what was read", fresh + MIB / 2, 17, 100);
  check("what is behind", fresh + MIB / 2 + 100, MIB / 2 + 100, 1000);
  FILE* const other = tmpfile();
  printf("  write out of it: %zd\n", write(fileno(other), later + MIB, MIB / 2));
  unsigned char* const copy = malloc(MIB / 2);
  printf("  and back: %zd\n", pread(fileno(other), copy, MIB / 2, 0));
  check("what was written", copy, 2 * MIB + 5 * PAGE, MIB / 2);
  fclose(other);

  // A private mapping's own changes, and their end.
  fresh[3] = 99;
  fresh[PAGE] = 98;
  printf("  own: %d %d, shared: %d %d\n", fresh[3], fresh[PAGE], all[3] == byte_at(3),
         all[PAGE] == byte_at(PAGE));
  printf("  dontneed: %d\n", madvise(fresh, 2 * PAGE, MADV_DONTNEED));
  check("given back", fresh, 0, 2 * PAGE);

  // Rights come and go; behind the end there is nothing.
  touch("write to a shared one", all + 7, 1);
  touch("write to a private one", later + 7, 1);
  mprotect(later, PAGE, PROT_READ | PROT_WRITE);
  touch("which may be written to", later + 7, 1);
  mprotect(later, PAGE, PROT_NONE);
  touch("which nobody may look at", later + 8, 0);
  mprotect(later, PAGE, PROT_READ);
  printf("  kept: %d %d\n", later[7], later[8] == byte_at(MIB + 5 * PAGE + 8));
  unsigned char* const longer = map(whole + 4 * PAGE, PROT_READ, MAP_PRIVATE, file, 0);
  touch("the end of the last page", longer + whole - 1, 0);
  touch("the page behind it", longer + whole, 0);
  touch("far behind it", longer + whole + 3 * PAGE + 5, 0);
  const int null = open("/tmp/sink", O_RDWR | O_CREAT | O_TRUNC, 0600);
  errno = 0;
  printf("  write from behind: %zd", write(null, longer + whole + PAGE, 10));
  printf(" %s\n", errno == 0 ? "" : strerrorname_np(errno));
  close(null);
  unlink("/tmp/sink");
  unsigned char* const nothing = map(PAGE, PROT_READ, MAP_PRIVATE, file, whole + MIB);
  touch("nothing but the end", nothing, 0);

  // Moved, grown, cut, and put elsewhere.
  unsigned char* const room = map(16 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char* const part = mmap(room + MIB, MIB, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, MIB);
  check("at an address", part, MIB, MIB);
  unsigned char* const grown = mremap(part, MIB, 2 * MIB, MREMAP_MAYMOVE);
  check("grown", grown, MIB, 2 * MIB);
  munmap(grown + 3 * PAGE, 5 * PAGE);
  check("before a hole", grown, MIB, 3 * PAGE);
  check("behind it", grown + 8 * PAGE, MIB + 8 * PAGE, MIB - 8 * PAGE);
  touch("in it", grown + 4 * PAGE, 0);
  unsigned char* const moved =
      mremap(grown + 8 * PAGE, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * MIB);
  check("moved", moved, MIB + 8 * PAGE, MIB);

  // It is shown as long as it is mapped, whatever is closed and removed.
  unsigned char* const last = map(file_bytes, PROT_READ, MAP_PRIVATE, file, 0);
  munmap(all, file_bytes);
  close(file);
  unlink(path);
  check("closed and removed", last, 0, whole);
  munmap(last, file_bytes);
  file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  printf("  a new one: %d\n", file >= 0);
  close(file);
  unlink(path);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, 0);
  sigaction(SIGBUS, &action, 0);
  in("mapped.data");
  in("/tmp/mapped.data");
  return 0;
}
