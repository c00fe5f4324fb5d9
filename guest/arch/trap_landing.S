/* SPDX-License-Identifier: MIT
 *
 * Where traps arrive at CPL3, out of the stubs (guest/arch/trap_stubs.S), and how a program goes on
 * with all of its registers. A trap of the guest's own code is its end. One of a program's code is
 * handled on the kernel's stack, which is not in use then: the trap stack's content lasts only until
 * the next trap or call of the gate.
 */
#include "guest/arch/gate.h"
#include "guest/arch/program.h"

/* Offsets in guest::arch::TrapFrame; guest/arch/trap.hpp asserts them. */
#define FRAME_RIP   144
#define FRAME_FLAGS 160
#define FRAME_BYTES 184

#define FLAG_INTERRUPT 0x200 /* in RFLAGS */

        .text
        .balign 16, 0xcc
        .globl  trap_landing
/* In: RDI = TrapFrame on the trap stack, RSP below it as at a function's entry; interrupts are off. */
trap_landing:
        cmpq    $0, %gs:EBB_PROGRAM_TRAP
        je      trap_panic
        movq    FRAME_RIP(%rdi), %rax
        leaq    __text_start(%rip), %rcx
        leaq    __text_end(%rip), %rdx
        cmpq    %rcx, %rax
        jb      1f
        cmpq    %rdx, %rax
        jb      trap_panic
        /* From here another thread may go on, which returns from a call without loading all flags. */
1:      movl    $1, %gs:EBB_PROGRAM_MASKED
        movq    %gs:EBB_KERNEL_RSP, %rsp
        leaq    FRAME_BYTES(%rdi), %rsi
        movl    $FRAME_BYTES / 8, %ecx
2:      subq    $8, %rsi
        pushq   (%rsi)
        decl    %ecx
        jnz     2b
        movq    %gs:EBB_PROGRAM_TRAP, %rbp

/* program_divert: has the function in RBP look at all registers of the program, and goes on with what
 * it leaves of them. In: RSP = TrapFrame on the kernel's stack; vector registers are the program's.
 */
        .globl  program_divert
program_divert:
        movq    %rsp, %rbx
        subq    $EBB_EXTENDED_STATE_BYTES, %rsp
        andq    $-64, %rsp
        leaq    512(%rsp), %rdi             /* XSAVE wants a clean header */
        movl    $8, %ecx
        xorl    %eax, %eax
        rep stosq
        decq    %rax                        /* all that XCR0 has */
        movl    %eax, %edx
        xsave64 (%rsp)
        movq    %rbx, %rdi
        movq    %rsp, %rsi
        call    *%rbp                       /* (TrapFrame&, its extended state) */
        movl    $-1, %eax
        movl    $-1, %edx
        xrstor64 (%rsp)
        movq    %rbx, %rdi
        /* A program cannot turn interrupts off: where they are, it is because of EBB_PROGRAM_MASKED. */
        orl     $FLAG_INTERRUPT, FRAME_FLAGS(%rdi)
        leaq    FRAME_BYTES(%rdi), %rsi
        movl    $5, %ecx                    /* SS, RSP, RFLAGS, CS, RIP */
1:      subq    $8, %rsi
        pushq   (%rsi)
        decl    %ecx
        jnz     1b
        pushq   72(%rdi)                    /* RDI */
        pushq   120(%rdi)                   /* RAX */
        movq    8(%rdi), %r15
        movq    16(%rdi), %r14
        movq    24(%rdi), %r13
        movq    32(%rdi), %r12
        movq    40(%rdi), %r11
        movq    48(%rdi), %r10
        movq    56(%rdi), %r9
        movq    64(%rdi), %r8
        movq    80(%rdi), %rsi
        movq    88(%rdi), %rbp
        movq    96(%rdi), %rbx
        movq    104(%rdi), %rdx
        movq    112(%rdi), %rcx
        movl    $0, %gs:EBB_PROGRAM_MASKED
        movq    %rsp, %rdi
        movl    $EBB_GATE_RESUME, %eax
        int3

        .section .note.GNU-stack, "", @progbits
