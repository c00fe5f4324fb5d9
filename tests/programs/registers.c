// SPDX-License-Identifier: MIT
// What a system call leaves alone: registers, flags and vector registers, whatever the direction
// flag says. Then vectors of buffers, of which one ends early.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

static struct utsname backwards;

// A call with the direction flag set, as no compiler's code makes one.
static long call_backwards(long number, void* one, long two, long three, long four, long five,
                           long six) {
  long answer = number;
  register long r10 __asm__("r10") = four;
  register long r8 __asm__("r8") = five;
  register long r9 __asm__("r9") = six;
  __asm__ volatile("std\n\tsyscall\n\tcmpq $-4096, %%rax\n\tcld"
                   : "+a"(answer)
                   : "D"(one), "S"(two), "d"(three), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory", "cc");
  return answer;
}

// Memory that was used before is cleared, and what lies before it stays.
static void clear_backwards(void) {
  enum { page = 4096 };
  uint8_t* const pages =
      mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(pages, 1, 3 * page);
  const long again = call_backwards(SYS_mmap, pages + page, 2 * page, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  int kept = 0;
  int cleared = 0;
  for (int at = 0; at < page; ++at) {
    kept += pages[at] == 1;
    cleared += (pages[page + at] == 0) + (pages[2 * page + at] == 0);
  }
  printf("same place %d, kept %d, cleared %d\n", again == (long)(pages + page), kept, cleared);
}

// All status flags, in all combinations, with the direction flag and without.
static void keep_flags(void) {
  enum { status = 0x8d5, direction = 0x400 };
  int kept = 0;
  for (uint64_t bits = 0; bits < 128; ++bits) {
    const uint64_t flags = 2 | (bits & 1) | (bits & 2) << 1 | (bits & 4) << 2 | (bits & 8) << 3 |
                           (bits & 16) << 3 | (bits & 32) << 5 | (bits & 64) << 5;
    uint64_t after = 0;
    long answer = SYS_getpid;
    __asm__ volatile("pushq %[flags]\n\t"
                     "popfq\n\t"
                     "syscall\n\t"
                     "movq %%rax, %%rdx\n\t"
                     "pushfq\n\t"
                     "cld\n\t"
                     "popq %[after]\n\t"
                     : "+a"(answer), [after] "=&r"(after)
                     : [flags] "r"(flags)
                     : "rcx", "rdx", "r11", "memory", "cc");
    kept += answer == getpid() && ((after ^ flags) & (status | direction)) == 0;
  }
  printf("flags %d\n", kept);
}

int main(void) {
  uint64_t flags = 0;
  uint64_t kept[10];
  uint8_t vectors[2][16] = {"0123456789abcde", "fedcba987654321"};
  uint8_t after[2][16];
  long answer = SYS_uname;
  __asm__ volatile("movups (%[vectors]), %%xmm0\n\t"
                   "movups 16(%[vectors]), %%xmm15\n\t"
                   "movq $2, %%rdx\n\t"
                   "movq $3, %%rsi\n\t"
                   "movq $8, %%r8\n\t"
                   "movq $9, %%r9\n\t"
                   "movq $10, %%r10\n\t"
                   "std\n\t"
                   "stc\n\t"
                   "syscall\n\t"
                   "pushfq\n\t"
                   "cld\n\t"
                   "popq %[flags]\n\t"
                   "movups %%xmm0, (%[after])\n\t"
                   "movups %%xmm15, 16(%[after])\n\t"
                   "movq %%rdx, (%[kept])\n\t"
                   "movq %%rsi, 8(%[kept])\n\t"
                   "movq %%r8, 16(%[kept])\n\t"
                   "movq %%r9, 24(%[kept])\n\t"
                   "movq %%r10, 32(%[kept])\n\t"
                   : "+a"(answer), [flags] "=&r"(flags)
                   : "D"(&backwards), [vectors] "r"(vectors), [after] "r"(after), [kept] "r"(kept)
                   : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm15", "memory",
                     "cc");
  printf("uname %ld, %s %s\n", answer, backwards.sysname, backwards.machine);
  printf("direction %d, carry %d, vectors %d\n", (int)(flags >> 10 & 1), (int)(flags & 1),
         memcmp(vectors, after, sizeof after));
  printf("kept %d %d %d %d %d\n", (int)kept[0], (int)kept[1], (int)kept[2], (int)kept[3],
         (int)kept[4]);
  keep_flags();
  clear_backwards();
  clear_backwards(); // from the same place
  fflush(stdout);

  char first[4];
  char second[100];
  const struct iovec in[] = {{first, 4}, {second, 0}, {second, 100}};
  const ssize_t got = readv(0, in, 3);
  const struct iovec out[] = {{first, 4}, {NULL, 0}, {second, (size_t)(got - 4)}};
  const ssize_t put = writev(1, out, 3);
  printf("\n%zd %zd %zd %zd\n", got, put, writev(1, out, -1), readv(99, in, 1));
  return 0;
}
