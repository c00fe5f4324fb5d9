/* SPDX-License-Identifier: MIT
 *
 * void read_registers(abi::PanicRegisters* registers): what the caller's registers were at the call.
 * RDI is lost: it holds the argument. shared/hypercall.hpp fixes the offsets.
 */
        .text
        .globl  read_registers
        .type   read_registers, @function
read_registers:
        movq    %rax, 0(%rdi)
        movq    %rbx, 8(%rdi)
        movq    %rcx, 16(%rdi)
        movq    %rdx, 24(%rdi)
        movq    %rsi, 32(%rdi)
        movq    %rdi, 40(%rdi)
        movq    %rbp, 48(%rdi)
        leaq    8(%rsp), %rax               /* as it was before the call */
        movq    %rax, 56(%rdi)
        movq    %r8, 64(%rdi)
        movq    %r9, 72(%rdi)
        movq    %r10, 80(%rdi)
        movq    %r11, 88(%rdi)
        movq    %r12, 96(%rdi)
        movq    %r13, 104(%rdi)
        movq    %r14, 112(%rdi)
        movq    %r15, 120(%rdi)
        movq    (%rsp), %rax
        movq    %rax, 128(%rdi)             /* rip: behind the call */
        pushfq
        popq    136(%rdi)
        movl    %cs, %eax
        movq    %rax, 144(%rdi)
        movl    %ss, %eax
        movq    %rax, 152(%rdi)
        ret
        .size   read_registers, . - read_registers

        .section .note.GNU-stack, "", @progbits
