// SPDX-License-Identifier: MIT
// What many calls about memory answer, and what memory holds afterwards: the same as on the host.
// Errors first, then reservations of terabytes, moves, advice, and at last a fault, as the argument
// says which.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1UL << 20)
#define TIB (1UL << 40)

static const char* text_of(long result) {
  return result == -1 ? strerrorname_np(errno) : result == 0 ? "0" : "address";
}

static void map(const char* what, void* at, size_t bytes, int protection, int flags, int file,
                off_t offset) {
  void* const got = mmap(at, bytes, protection, flags, file, offset);
  printf("mmap %-32s %s\n", what, got == MAP_FAILED ? strerrorname_np(errno) : "ok");
  if (got != MAP_FAILED) {
    munmap(got, bytes);
  }
}

static void errors(void) {
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  const int rw = PROT_READ | PROT_WRITE;
  const int file = open("/proc/self/exe", O_RDONLY);
  const int folder = open("/", O_RDONLY);
  map("of nothing", 0, 0, rw, anonymous, -1, 0);
  map("of too much", 0, ~0UL - PAGE, rw, anonymous, -1, 0);
  map("of everything", 0, ~0UL, rw, anonymous, -1, 0);
  map("of 64 TiB, to write", 0, 64 * TIB, rw, anonymous, -1, 0);
  map("of 64 TiB, reserved", 0, 64 * TIB, PROT_NONE, anonymous | MAP_NORESERVE, -1, 0);
  map("of 200 TiB", 0, 200 * TIB, PROT_NONE, anonymous | MAP_NORESERVE, -1, 0);
  map("without a type", 0, PAGE, rw, MAP_ANONYMOUS, -1, 0);
  map("shared, no file", 0, PAGE, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  map("validated, no file", 0, PAGE, rw, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0);
  map("at an odd address", (void*)0x10000001, PAGE, rw, anonymous | MAP_FIXED, -1, 0);
  map("at an odd hint", (void*)(5 * TIB + 1), PAGE, rw, anonymous, -1, 0);
  map("above the top", (void*)(128 * TIB), PAGE, rw, anonymous | MAP_FIXED, -1, 0);
  map("across the top", (void*)(128 * TIB - PAGE), 2 * PAGE, rw, anonymous | MAP_FIXED, -1, 0);
  map("of no file", 0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0);
  map("of a file that is not open", 0, PAGE, PROT_READ, MAP_PRIVATE, 999, 0);
  map("of a folder", 0, PAGE, PROT_READ, MAP_PRIVATE, folder, 0);
  map("of a file", 0, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
  map("of a file, shared", 0, PAGE, PROT_READ, MAP_SHARED, file, 0);
  map("of a file, shared to write", 0, PAGE, rw, MAP_SHARED, file, 0);
  map("of a file, private to write", 0, PAGE, rw, MAP_PRIVATE, file, 0);
  map("of a file, odd offset", 0, PAGE, PROT_READ, MAP_PRIVATE, file, 7);
  map("of a file, no length", 0, 0, PROT_READ, MAP_PRIVATE, file, 0);
  map("of a file, far offset", 0, 2 * PAGE, PROT_READ, MAP_PRIVATE, file, (off_t)(~0UL - PAGE + 1));
  char* const p = mmap(0, 4 * PAGE, rw, anonymous, -1, 0);
  map("on what is there", p + PAGE, PAGE, rw, anonymous | MAP_FIXED_NOREPLACE, -1, 0);
  munmap(p + PAGE, PAGE);
  printf("munmap odd %s\n", text_of(munmap(p + 1, PAGE)));
  printf("munmap nothing %s\n", text_of(munmap(p, 0)));
  printf("munmap too much %s\n", text_of(munmap(p, ~0UL)));
  printf("munmap a gap %s\n", text_of(munmap(p + PAGE, PAGE)));
  printf("mprotect odd %s\n", text_of(mprotect(p + 1, PAGE, rw)));
  printf("mprotect a gap %s\n", text_of(mprotect(p + PAGE, PAGE, rw)));
  printf("mprotect nothing %s\n", text_of(mprotect(p, 0, rw)));
  printf("mprotect what is not known %s\n", text_of(mprotect(p, PAGE, 0x1000)));
  printf("mprotect both ways %s\n", text_of(mprotect(p, PAGE, PROT_GROWSDOWN | PROT_GROWSUP)));
  printf("mprotect too much %s\n", text_of(mprotect(p, ~0UL - 2 * PAGE, rw)));
  printf("madvise unknown %s\n", text_of(madvise(p, PAGE, 77)));
  printf("madvise odd %s\n", text_of(madvise(p + 1, PAGE, MADV_DONTNEED)));
  printf("madvise a gap %s\n", text_of(madvise(p, 4 * PAGE, MADV_DONTNEED)));
  printf("madvise nothing %s\n", text_of(madvise(p, 0, MADV_DONTNEED)));
  printf("madvise too much %s\n", text_of(madvise(p, ~0UL, MADV_DONTNEED)));
  printf("madvise huge %s\n", text_of(madvise(p, PAGE, MADV_HUGEPAGE)));
  printf("madvise populate %s\n", text_of(madvise(p, PAGE, 23)));
  printf("mremap odd %s\n", text_of((long)mremap(p + 1, PAGE, PAGE, 0)));
  printf("mremap to nothing %s\n", text_of((long)mremap(p, PAGE, 0, 0)));
  printf("mremap a gap %s\n", text_of((long)mremap(p + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE)));
  printf("mremap unknown %s\n", text_of((long)mremap(p, PAGE, PAGE, 64)));
  printf("mremap fixed alone %s\n",
         text_of((long)mremap(p, PAGE, PAGE, MREMAP_FIXED, p + 64 * PAGE)));
  printf("mremap onto itself %s\n",
         text_of((long)mremap(p + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE,
                              p + 3 * PAGE)));
  unsigned char vector[8];
  printf("mincore odd %s\n", text_of(mincore(p + 1, PAGE, vector)));
  printf("mincore a gap %s\n", text_of(mincore(p, 2 * PAGE, vector)));
  printf("mincore to nowhere %s\n", text_of(mincore(p, PAGE, (unsigned char*)8)));
  printf("msync odd %s\n", text_of(msync(p + 1, PAGE, MS_SYNC)));
  printf("msync both %s\n", text_of(msync(p, PAGE, MS_SYNC | MS_ASYNC)));
  printf("msync %s\n", text_of(msync(p, PAGE, MS_SYNC)));
}

static void reservations(void) {
  char* const p = mmap(0, 20 * TIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  printf("reserved %d\n", p != MAP_FAILED);
  for (unsigned long i = 1; i < 20; ++i) {
    mprotect(p + i * TIB, MIB, PROT_READ | PROT_WRITE);
    p[i * TIB + 12345] = (char)i;
  }
  long sum = 0;
  for (unsigned long i = 1; i < 20; ++i) {
    for (unsigned long k = 0; k < MIB; k += 1) {
      sum += p[i * TIB + k];
    }
  }
  printf("sum %ld\n", sum);
  printf("given back %d\n", madvise(p + TIB, MIB, MADV_DONTNEED));
  printf("zero again %d\n", p[TIB + 12345]);
  unsigned char vector[1] = {9};
  printf("mincore %d", mincore(p + TIB + 64 * PAGE * 2, PAGE, vector));
  printf(" %d\n", vector[0] & 1);
  char* const hint = (char*)0xc000000000;
  char* const arena = mmap(hint, 64 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("hint taken %d\n", arena == hint);
  char* const fixed = mmap(arena, 64 * MIB, PROT_READ | PROT_WRITE,
                           MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("fixed there %d\n", fixed == hint);
  memset(fixed, 7, 64 * MIB);
  printf("read %d, to the system %d\n", fixed[33 * MIB], (int)write(1, "", 0));
  // A transfer across blocks that do not lie in a row.
  const int file = open("/proc/self/exe", O_RDONLY);
  char* const first = malloc(8192);
  const long got = pread(file, first, 8192, 0);
  printf("same %d\n", pread(file, fixed + 2 * MIB - 4097, 8192, 0) == got &&
                          memcmp(first, fixed + 2 * MIB - 4097, (size_t)got) == 0);
  printf("unmapped %d\n", munmap(p, 20 * TIB) | munmap(arena, 64 * MIB));
}

static void moves(void) {
  char* p = mmap(0, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (unsigned long i = 0; i < 16 * MIB; i += PAGE) {
    p[i] = (char)(i / PAGE);
  }
  for (unsigned long size = 16 * MIB; size < 200 * MIB; size += 37 * MIB) {
    p = mremap(p, size, size + 37 * MIB, MREMAP_MAYMOVE);
  }
  int right = 0;
  for (unsigned long i = 0; i < 16 * MIB; i += PAGE) {
    right += p[i] == (char)(i / PAGE);
  }
  printf("right %d, behind %d\n", right, p[100 * MIB]);
  char* const small = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  small[3] = 42;
  char* const there = mremap(small, 8 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 50 * MIB);
  printf("there %d %d, length %d\n", there == p + 50 * MIB, there[3], there[3 * PAGE]);
  char* const shared = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared[5] = 5;
  printf("shared %d, shrunk %d\n", shared[5], mremap(p, 50 * MIB, PAGE, 0) == p);
  mprotect(p, PAGE, PROT_READ);
  printf("read only %d, written back %d\n", p[0], mprotect(p, PAGE, PROT_READ | PROT_WRITE));
  p[1] = 8;
  printf("written %d\n", p[1]);
}

static int deep(int depth) {
  volatile char room[4096];
  room[0] = (char)depth;
  return depth == 0 ? 0 : deep(depth - 1) + room[0];
}

static const int constant = 5;

int main(int argc, char** argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  const char* const what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "answers") == 0) {
    errors();
    reservations();
    moves();
    printf("deep %d\n", deep(1500));
    return 0;
  }
  // Faults: none of these comes back.
  char* const p = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(p, 0xc3, 16 * PAGE); // returns
  printf("%s\n", what);
  if (strcmp(what, "guard") == 0) {
    mprotect(p + PAGE, PAGE, PROT_NONE);
    p[PAGE - 1] = 1;
    p[PAGE] = 1;
  } else if (strcmp(what, "read-only") == 0) {
    mprotect(p, PAGE, PROT_READ);
    p[PAGE] = p[0];
    p[0] = 1;
  } else if (strcmp(what, "text") == 0) {
    *(volatile char*)(uintptr_t)&main = 1;
  } else if (strcmp(what, "constant") == 0) {
    *(volatile int*)(uintptr_t)&constant = 6;
  } else if (strcmp(what, "data") == 0) {
    ((void (*)(void))(uintptr_t)p)();
  } else if (strcmp(what, "unmapped") == 0) {
    char* const far = mmap(0, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    far[5] = 1;
    munmap(far, 64 * MIB);
    far[5] = 1;
  } else if (strcmp(what, "stack") == 0) {
    return deep(1 << 20);
  } else if (strcmp(what, "exec") == 0) { // comes back: asked for
    mprotect(p, PAGE, PROT_READ | PROT_EXEC);
    ((void (*)(void))(uintptr_t)p)();
    return 7;
  } else if (strcmp(what, "out-of-memory") == 0) {
    for (;;) {
      char* const more = mmap(0, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (more == MAP_FAILED) {
        return 8;
      }
      memset(more, 1, 16 * MIB);
    }
  }
  return 9;
}
