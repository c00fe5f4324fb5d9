/* SPDX-License-Identifier: MIT
 *
 * The way of a Linux program's system call into the guest's kernel and back. Both run at CPL3.
 *
 * SYSCALL enters ring 0 on VMX and SVM; on kvm_pvm it stays at CPL3, by an exit within the host's
 * kernel. One stub serves both: it looks where it is, and if in ring 0 does nothing but go back to
 * CPL3 behind that look. The stack is the program's until then and is not touched; interrupts are
 * off in ring 0 (MSR FMASK), and NMIs have a stack of their own. GS base is the vCPU page.
 */
#include "guest/arch/program.h"
#include "guest/arch/save_registers.h"

#define FLAG_DIRECTION    0x400 /* in RFLAGS */
#define FLAG_OVERFLOW_BIT 11

        .text
        .balign 16, 0xcc
        .globl  program_syscall
/* In: RAX = number; RDI, RSI, RDX, R10, R8, R9 = arguments; RCX = next instruction; R11 = flags. */
program_syscall:
        movq    %rcx, %gs:EBB_PROGRAM_RIP
        movl    %cs, %ecx
        testb   $3, %cl
        jnz     1f
        leaq    4f(%rip), %rcx
        sysretq                             /* to CPL3; takes the flags from R11 */
        /* FMASK holds for kvm_pvm, too, and POPF does not undo it. */
1:      movl    $1, %gs:EBB_PROGRAM_MASKED
4:      movq    %rsp, %gs:EBB_PROGRAM_RSP
        movq    %gs:EBB_KERNEL_RSP, %rsp    /* a multiple of 16 */
        pushq   %gs:EBB_PROGRAM_RSP
        pushq   %gs:EBB_PROGRAM_RIP
        pushq   %r11
        leaq    program_call_by_instruction(%rip), %rcx
        jmp     2f

/* The same from a patched site (guest/linux/site_patcher.hpp): RCX = where to go on, R11 is lost. */
        .balign 16, 0xcc
        .globl  program_enter_kernel
program_enter_kernel:
        movq    %rsp, %gs:EBB_PROGRAM_RSP
        movq    %gs:EBB_KERNEL_RSP, %rsp
        pushq   %gs:EBB_PROGRAM_RSP
        pushq   %rcx
        pushfq
        leaq    program_call(%rip), %rcx
2:      cld                                 /* as compiled code wants it; the program's comes back */
        pushq   %r9
        pushq   %r8
        pushq   %r10
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %rax
        pushq   %r15                        /* calls keep these; a new thread begins with them */
        pushq   %r14
        pushq   %r13
        pushq   %r12
        pushq   %rbp
        pushq   %rbx
        subq    $EBB_VECTOR_BYTES, %rsp     /* a call keeps all of them */
        save_vectors
6:      leaq    EBB_VECTOR_BYTES(%rsp), %rdi /* guest::arch::ProgramCall */
        call    *%rcx
        restore_vectors
        addq    $EBB_VECTOR_BYTES + 7 * 8, %rsp /* RAX is the answer */
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %r10
        popq    %r8
        popq    %r9
        cmpl    $0, %gs:EBB_PROGRAM_DIVERTED
        jne     3f
        /* POPF is dear. Nothing but the status flags and the direction flag has changed. */
        popq    %r11
        testl   $FLAG_DIRECTION, %r11d
        jnz     5f
        movq    %rax, %rcx
        movl    %r11d, %eax
        movb    %al, %ah
        shrl    $FLAG_OVERFLOW_BIT, %r11d
        andb    $1, %r11b
        addb    $127, %r11b                 /* overflows, or does not */
        sahf                                /* and the others, from AH */
        movq    %rcx, %rax
        popq    %rcx
        popq    %rsp
        jmp     *%rcx
5:      pushq   %r11
        popfq
        popq    %rcx
        popq    %rsp
        jmp     *%rcx

/* A signal, or a handler's return: a TrapFrame of what there is, as if behind the call were a trap. */
3:      movl    $0, %gs:EBB_PROGRAM_DIVERTED
        movq    (%rsp), %r11                /* flags */
        movq    8(%rsp), %rcx               /* where to go on */
        pushq   $EBB_USER_SS
        pushq   24(%rsp)                    /* the program's RSP */
        pushq   %r11
        pushq   $EBB_USER_CS
        pushq   %rcx
        pushq   $0                          /* error code */
        pushq   $0                          /* vector */
        push_general_registers
        pushq   $0                          /* CR2 */
        leaq    program_diverted(%rip), %rbp
        jmp     program_divert

/* Where a new thread begins (guest/arch/thread_switch.S), as if behind its parent's call. In: RSP = what
 * that call has pushed, copied; RBX, RBP, R12 to R15 = the parent's. */
        .balign 16, 0xcc
        .globl  program_thread_landing
program_thread_landing:
        leaq    program_thread(%rip), %rcx
        jmp     6b

/* program_enter(instruction, stack): starts a program; calls come back to what is below RSP now. */
        .balign 16, 0xcc
        .globl  program_enter
program_enter:
        movq    %rsp, %rax
        andq    $-16, %rax
        movq    %rax, %gs:EBB_KERNEL_RSP
        movq    %rdi, %rcx
        movq    %rsi, %rsp
        xorl    %eax, %eax
        xorl    %ebx, %ebx
        xorl    %edx, %edx                  /* nothing to call at exit */
        xorl    %esi, %esi
        xorl    %edi, %edi
        xorl    %ebp, %ebp
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        xorl    %r10d, %r10d
        xorl    %r11d, %r11d
        xorl    %r12d, %r12d
        xorl    %r13d, %r13d
        xorl    %r14d, %r14d
        xorl    %r15d, %r15d
        jmp     *%rcx

        .section .note.GNU-stack, "", @progbits
