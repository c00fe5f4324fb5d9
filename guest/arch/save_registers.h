/* SPDX-License-Identifier: MIT
 * Assembler macros: what of a guest::arch::TrapFrame (guest/arch/trap.hpp) is general registers, and
 * the vector registers that compiled code of the kernel changes.
 */
#pragma once

        /* From the frame's vector down to its R15; CR2 comes next. Changes no register but RSP. */
        .macro  push_general_registers
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        .endm

/* Bytes at RSP. The kernel is compiled for SSE2 alone, which leaves what is above bit 127 as it is. */
#define EBB_VECTOR_BYTES 256

        .macro  save_vectors
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  %xmm\n, 16 * \n(%rsp)
        .endr
        .endm

        .macro  restore_vectors
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  16 * \n(%rsp), %xmm\n
        .endr
        .endm
