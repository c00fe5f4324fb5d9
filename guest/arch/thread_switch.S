/* SPDX-License-Identifier: MIT
 *
 * void switch_stacks(std::uint64_t* from, std::uint64_t to): puts away what the calling thread of the
 * program has in registers, on its stack in the kernel, whose RSP goes to *from; goes on with the one
 * whose RSP was put away at `to`. Calls keep all vector registers of the program, and so must this:
 * of those, the kernel's own code changes the lower halves only, which program_entry.S has saved.
 *
 * void save_extended_state(std::byte* to): what of that is vector and x87 registers.
 *
 * On a stack that is put away, from RSP: frame pointer to the general registers, the same again (for
 * alignment), and the extended state; the general registers and where to go on are above them.
 * guest/arch/thread_switch.hpp has it as a struct for threads that have not run yet.
 */
#include "guest/arch/program.h"

        /* Of all that XCR0 has, to (\area), a multiple of 64. Changes RAX, RCX, RDX, RDI. */
        .macro  save_extended area
        leaq    512(\area), %rdi            /* XSAVE wants a clean header */
        movl    $8, %ecx
        xorl    %eax, %eax
        rep stosq
        decq    %rax
        movl    %eax, %edx
        xsave64 (\area)
        .endm

        .text
        .balign 16, 0xcc
        .globl  switch_stacks
        .type   switch_stacks, @function
switch_stacks:
        pushq   %r15
        pushq   %r14
        pushq   %r13
        pushq   %r12
        pushq   %rbp
        pushq   %rbx
        movq    %rsp, %rbp
        movq    %rdi, %rbx
        subq    $EBB_EXTENDED_STATE_BYTES, %rsp
        andq    $-64, %rsp
        save_extended %rsp
        pushq   %rbp
        pushq   %rbp
        movq    %rsp, (%rbx)
        movq    %rsi, %rsp
        popq    %rbp
        popq    %rbp
        movl    $-1, %eax
        movl    $-1, %edx
        xrstor64 (%rsp)
        movq    %rbp, %rsp
        popq    %rbx
        popq    %rbp
        popq    %r12
        popq    %r13
        popq    %r14
        popq    %r15
        ret
        .size   switch_stacks, . - switch_stacks

        .balign 16, 0xcc
        .globl  save_extended_state
        .type   save_extended_state, @function
save_extended_state:
        movq    %rdi, %rsi
        save_extended %rsi
        ret
        .size   save_extended_state, . - save_extended_state

        .section .note.GNU-stack, "", @progbits
