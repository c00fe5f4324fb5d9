// SPDX-License-Identifier: MIT
// System calls from all kinds of places, each several times, and jumps to what lies behind them: a
// kernel that rewrites the places of calls must not be noticed.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Each is called as f(number or answer, where): 0 makes the call, 1, 2, ... jump behind it.
#define SITE(name, behind)                                                                         \
  long name(long rax, long where);                                                                 \
  __asm__(".balign 64\n" #name ":\n\t"                                                             \
          "movq %rdi, %rax\n\t"                                                                    \
          "xorl %edx, %edx\n\t"                                                                    \
          "cmpq $1, %rsi\n\t"                                                                      \
          "je 1f\n\t"                                                                              \
          "cmpq $2, %rsi\n\t"                                                                      \
          "je 2f\n\t"                                                                              \
          "cmpq $3, %rsi\n\t"                                                                      \
          "je 3f\n\t"                                                                              \
          "movl $-1, %edi\n\t"                                                                     \
          "syscall\n" behind)

SITE(compares, "1: cmpq $-4095, %rax\n\t"
               "jae 4f\n"
               "2: 3: ret\n"
               "4: negq %rax\n\t"
               "orq $1 << 20, %rax\n\t"
               "ret\n");
SITE(returns, "1: ret\n"
              "2: nopl 0x0(%rax,%rax,1)\n"
              "3: addq $100, %rax\n\t"
              "ret\n");
SITE(returns_before_short_padding, "1: ret\n"
                                   "2: nop\n"
                                   "3: nop\n\t"
                                   "addq $100, %rax\n\t"
                                   "ret\n");
SITE(returns_before_code, "1: ret\n"
                          "2: 3: addq $100, %rax\n\t"
                          "ret\n");
SITE(moves, "1: movl %eax, %edx\n"
            "2: negl %edx\n"
            "3: cmpl $-4096, %eax\n\t"
            "movslq %edx, %rax\n\t"
            "ret\n");
SITE(branches, "1: testl %eax, %eax\n"
               "2: jns 5f\n\t"
               "notq %rax\n"
               "5: 3: ret\n");
SITE(reads_relative, "1: movq here(%rip), %rdx\n"
                     "2: 3: addq %rdx, %rax\n\t"
                     "ret\n");
SITE(uses_the_stack, "1: movq %rax, -8(%rsp)\n"
                     "2: movq -8(%rsp), %rax\n"
                     "3: ret\n");
SITE(pushes, "1: pushq %rax\n\t"
             "popq %rcx\n\t"
             "movq %rcx, %rax\n"
             "2: 3: ret\n");
SITE(calls_at_once, "1: 2: 3: call getpid_site\n\t"
                    "ret\n");
SITE(getpid_site, "1: 2: 3: cmpq $-4096, %rax\n\t"
                  "setbe %al\n\t"
                  "movzbl %al, %eax\n\t"
                  "ret\n");
__asm__(".balign 8\nhere: .quad 1000\n");

typedef long (*Site)(long, long);
static const struct {
  const char* name;
  Site site;
} sites[] = {
    {"compares", compares},
    {"returns", returns},
    {"returns before short padding", returns_before_short_padding},
    {"returns before code", returns_before_code},
    {"moves", moves},
    {"branches", branches},
    {"reads relative", reads_relative},
    {"uses the stack", uses_the_stack},
    {"pushes", pushes},
};

static void go_everywhere(void) {
  for (size_t index = 0; index < sizeof sites / sizeof *sites; ++index) {
    const Site site = sites[index].site;
    printf("%s:", sites[index].name);
    for (int round = 0; round < 3; ++round) {
      printf(" %ld %ld", site(SYS_getuid, 0), site(SYS_close, 0));
      for (long where = 1; where <= 3; ++where) {
        printf(" %ld %ld", site(7, where), site(-7, where));
      }
    }
    printf("\n");
  }
  printf("calls at once: %ld %ld\n", calls_at_once(SYS_close, 0), calls_at_once(SYS_close, 0));
}

enum { page = 4096 };
// movq %rdi, %rax; syscall; cmpq $-4096, %rax; ret
static const uint8_t code[] = {0x48, 0x89, 0xf8, 0x0f, 0x05, 0x48,
                               0x3d, 0x00, 0xf0, 0xff, 0xff, 0xc3};
// movq %rdi, %rax; syscall; leaq 5(%rax), %rax; ret
static const uint8_t other_code[] = {0x48, 0x89, 0xf8, 0x0f, 0x05, 0x48,
                                     0x8d, 0x40, 0x05, 0xc3, 0x90, 0x90};

static uint8_t* new_pages(void* where, size_t count) {
  return mmap(where, count * page, PROT_READ | PROT_WRITE | PROT_EXEC,
              MAP_PRIVATE | MAP_ANONYMOUS | (where == NULL ? 0 : MAP_FIXED), -1, 0);
}

static long call(const uint8_t* at, long number) {
  return ((long (*)(long))(uintptr_t)at)(number);
}

// At every distance from a page's end, and more of them than there is room for in one place.
static void call_from_many(void) {
  uint8_t* const pages = new_pages(NULL, 8);
  long sum = 0;
  int count = 0;
  for (int round = 0; round < 2; ++round) {
    for (size_t at = 0; at + sizeof code <= 8 * page; at += sizeof code + 1) {
      memcpy(pages + at, code, sizeof code);
      sum += call(pages + at, SYS_getuid) + call(pages + at, SYS_getuid);
      ++count;
    }
  }
  printf("many: %d %d\n", count, sum == 4L * (long)getuid() * count / 2);
  munmap(pages, 8 * page);
}

// What is called changes at its place, moves, and goes.
static void change(void) {
  uint8_t* pages = new_pages(NULL, 4);
  for (int round = 0; round < 4; ++round) {
    memcpy(pages + page - 4, code, sizeof code);
    printf("changed: %ld %ld", call(pages + page - 4, SYS_close),
           call(pages + page - 4, SYS_close));
    memcpy(pages + page - 4, other_code, sizeof other_code);
    printf(" %ld %ld", call(pages + page - 4, SYS_close), call(pages + page - 4, SYS_close));
    memcpy(pages + page - 4, code, sizeof code);
    printf(" %ld", call(pages + page - 4, SYS_close));
    madvise(pages + page, page, MADV_DONTNEED); // the second half reads as zero
    printf(" %d", pages[page] + pages[page + 4]);
    memcpy(pages + page - 4, code, sizeof code);
    printf(" %ld", call(pages + page - 4, SYS_close));
    new_pages(pages, 1); // the first half
    printf(" %d", pages[page - 1]);
    memcpy(pages + page - 4, other_code, sizeof other_code);
    printf(" %ld\n", call(pages + page - 4, SYS_close));
    memcpy(pages + 2 * page - 4, code, sizeof code);
    call(pages + 2 * page - 4, SYS_close);
    // Bigger, and the fourth page is in the way, so it has to move.
    uint8_t* const moved = mremap(pages, 3 * page, 700 * page, MREMAP_MAYMOVE);
    printf("moved: %ld %ld\n", call(moved + 2 * page - 4, SYS_close),
           call(moved + 2 * page - 4, SYS_close));
    munmap(moved, 700 * page);
    munmap(pages + 3 * page, page);
    pages = new_pages(NULL, 4);
  }
  munmap(pages, 4 * page);
}

int main(void) {
  go_everywhere();
  call_from_many();
  change();
  return 0;
}
