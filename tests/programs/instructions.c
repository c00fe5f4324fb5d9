// SPDX-License-Identifier: MIT
// Instructions that a program may not use, or not so: which signal comes of each, and what it says.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { page = 4096 };

static sigjmp_buf back;
static unsigned char* code; // a page for an instruction, behind it one that nothing is mapped to
static unsigned char* data; // a page that can be written, likewise
static char alternate[1 << 16];

struct Case {
  const char* name;
  const char* bytes; // in hexadecimal; RAX 0, RBX to 64 aligned bytes, RDX 0x1000200000003000
};

static const struct Case cases[] = {
    {"in al, 0x60", "e460"},
    {"in eax, 0x60", "e560"},
    {"out 0x60, al", "e660"},
    {"out 0x80, al", "e680"},
    {"in al, 0x3000", "66ba0030ec"},
    {"in al, 0x71", "66ba7100ec"},
    {"in ax, 0x4ff", "66baff0466ed"},
    {"out 0x4fd, eax", "66bafd04ef"},
    {"in al, 0x508", "66ba0805ec"},
    {"out 0xeb, eax", "e7eb"},
    {"out 0xffff, al", "66baffffee"},
    {"insb", "66ba60006c"},
    {"outsb", "66ba60006e"},
    {"rep outsb", "b90200000066ba6000f36e"},
    {"int 0", "cd00"},
    {"int 2", "cd02"},
    {"int 3 of two bytes", "cd03"},
    {"int 4", "cd04"},
    {"int 6", "cd06"},
    {"int 13", "cd0d"},
    {"int 14", "cd0e"},
    {"int 32", "cd20"},
    {"int 33", "cd21"},
    {"int 0x42", "cd42"},
    {"int 0x42 with prefixes", "662e48cd42"},
    {"int 0xff", "cdff"},
    {"int3", "cc"},
    {"int1", "f1"},
    {"ud2", "0f0b"},
    {"ud1", "0fb9c0"},
    {"ud0", "0fffc0"},
    {"into", "ce"},
    {"push es", "06"},
    {"lock nop", "f090"},
    {"lock mov", "f0890b"},
    {"rsm", "0faa"},
    {"divide by zero", "31c9f7f1"},
    {"divide too much", "b901000000ba02000000f7f1"},
    {"signed divide too much", "b8000000809983c9fff7f9"},
    {"hlt", "f4"},
    {"cli", "fa"},
    {"sti", "fb"},
    {"clts", "0f06"},
    {"invd", "0f08"},
    {"wbinvd", "0f09"},
    {"rdmsr", "0f32"},
    {"wrmsr", "0f30"},
    {"mov rax, cr0", "0f20c0"},
    {"mov cr3, rax", "0f22d8"},
    {"mov rax, dr7", "0f21f8"},
    {"mov dr7, rax", "0f23f8"},
    {"invlpg", "0f013b"},
    {"lgdt", "0f0113"},
    {"lidt", "0f011b"},
    {"lldt", "0f00d0"},
    {"ltr", "0f00d8"},
    {"lmsw", "0f01f0"},
    {"swapgs", "0f01f8"},
    {"sysret", "480f07"},
    {"sysexit", "480f35"},
    {"xsetbv", "0f01d1"},
    {"xgetbv of 99", "b9630000000f01d0"},
    {"mov ss, 0x33", "b8330000008ed0"},
    {"mov ds, 0xfff8", "b8f8ff00008ed8"},
    {"movaps, not aligned", "0f284301"},
    {"movaps to memory, not aligned", "0f294303"},
    {"movdqa, not aligned", "660f6f4308"},
    {"vmovaps, not aligned", "c5fc284310"},
    {"vmovdqa, not aligned, by two registers", "b804000000c4e17d6f0403"},
    {"vmovntps, not aligned", "c5fc2b4304"},
    {"addps, not aligned", "0f584304"},
    {"pxor, not aligned", "660fef4304"},
    {"pshufb, not aligned", "660f38004304"},
    {"addps of a high address", "0f5802"},
    {"vmovups of a high address", "c5fc1002"},
    {"vmovups of a high address by RBP", "4889d5c5fc104500"},
    {"popcnt of a high address", "f30fb802"},
    {"fld of a high address", "d902"},
    {"vmovaps, not aligned, at a page's end", "c5fc28830110"},
    {"cmpxchg16b, not aligned", "480fc74b08"},
    {"xrstor, not aligned", "0fae6b01"},
    {"read of a high address", "488b02"},
    {"write to a high address", "488902"},
    {"push to a high address", "4889d450"},
    {"pop from a high address", "4889d458"},
    {"read by RBP of a high address", "4889d5488b4500"},
    {"jump to a high address", "ffe2"},
    {"read of the kernel's half", "48b80000000000ffffff8b00"},
    {"write to the kernel's half", "48b80000000000ffffff8900"},
    {"read of 0", "8b00"},
    {"write to 16", "894010"},
    {"jump to 0", "ffe0"},
    {"jump to data", "ffe3"},
    {"write to code", "8805faffffff"},
    {"read of what is not mapped", "8b8340100000"},
    {"read over a page's end", "488b83fa0f0000"},
    {"write over a page's end", "488983fa0f0000"},
    {"an instruction too long", "666666666666666666666666666666666690"},
    {"x87 divide", "9bdbe36a00d92c24d9e8d9eedef99b58"},
    {"x87 root of -1", "9bdbe36a00d92c24d9e8d9e0d9fa9b58"},
    {"x87 stack", "9bdbe36a00d92c24ddd89b58"},
    {"SSE divide", "6800000000" "0fae1424" "0f57c0" "f30f5ec0" "58"},
    {"SSE divide by zero", "6800000000" "0fae1424" "b80000803f660f6ec8" "0f57c0" "f30f5ec8" "58"},
    {"SSE inexact", "6800000000" "0fae1424" "b80000803f660f6ec8" "b800004040660f6ec0" "f30f5ec8" "58"},
    {"SSE overflow", "6800100000" "0fae1424" "b8ffff7f7f660f6ec8" "f30f59c9" "58"},
    {"SSE denormal", "6880160000" "0fae1424" "b801000000660f6ec8" "f30f58c9" "58"},
    {"MXCSR with reserved bits", "68000000010fae142458"},
    {"alignment", "9c810c24000004009d8b4301"},
    {"one step", "9c810c24000100009d9090"},
};

static void note(int signal, siginfo_t* info, void* context) {
  // A handler begins with the alignment check as it was.
  __asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" ::: "memory", "cc");
  const greg_t* const at = ((ucontext_t*)context)->uc_mcontext.gregs;
  const uintptr_t address = (uintptr_t)info->si_addr;
  char where[32];
  if (address - (uintptr_t)code < page) {
    sprintf(where, "code+%d", (int)(address - (uintptr_t)code));
  } else if (address - (uintptr_t)data < 2 * page) {
    sprintf(where, "data+%d", (int)(address - (uintptr_t)data));
  } else {
    sprintf(where, "%#lx", address);
  }
  const intptr_t from = (intptr_t)(at[REG_RIP] - (intptr_t)code);
  printf("signal %d code %d address %s trap %d error %#x", signal, info->si_code, where,
         (int)at[REG_TRAPNO], (unsigned)at[REG_ERR]);
  if (from >= 0 && from < page) {
    printf(" at %d\n", (int)from);
  } else {
    printf(" at another place\n");
  }
  siglongjmp(back, 1);
}

static void write_code(const char* hex) {
  mprotect(code, page, PROT_READ | PROT_WRITE);
  unsigned char* to = code;
  for (; *hex != '\0'; hex += 2) {
    unsigned byte = 0;
    sscanf(hex, "%2x", &byte);
    *to++ = (unsigned char)byte;
  }
  *to = 0xc3;
  mprotect(code, page, PROT_READ | PROT_EXEC);
}

static void run(void) {
  __asm__ volatile("subq $128, %%rsp; call *%%rcx; addq $128, %%rsp"
                   :
                   : "a"(0), "b"(data), "c"(code), "d"(0x1000200000003000)
                   : "memory", "cc", "rsi", "rdi", "r8", "xmm0", "xmm1");
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  code = mmap(NULL, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  data = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(code + page, page, PROT_NONE);
  mprotect(data + page, page, PROT_NONE);
  const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = note;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (unsigned index = 0; index < sizeof signals / sizeof *signals; ++index) {
    sigaction(signals[index], &action, NULL);
  }
  const unsigned usual_mxcsr = 0x1f80;
  for (volatile unsigned index = 0; index < sizeof cases / sizeof *cases; ++index) {
    write_code(cases[index].bytes);
    printf("%s: ", cases[index].name);
    fflush(stdout);
    if (sigsetjmp(back, 1) == 0) {
      run();
      printf("no signal\n");
    }
    __asm__ volatile("pushfq; andq $~0x40100, (%%rsp); popfq; fninit; ldmxcsr %0"
                     :
                     : "m"(usual_mxcsr)
                     : "memory", "cc");
  }
  return 0;
}
