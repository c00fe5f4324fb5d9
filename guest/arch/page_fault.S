/* SPDX-License-Identifier: MIT
 *
 * Page faults that the guest can mend: where the stub in trap_stubs.S goes on at CPL3, and the way
 * back, which needs no ring 0. The stack is one of its own: the fault may be of the program, or of
 * the kernel in the middle of a call.
 */
#include "guest/arch/program.h"
#include "guest/arch/save_registers.h"

        .text
        .balign 16, 0xcc
        .globl  page_fault_landing
/* In: all registers as at the fault, but RIP. */
page_fault_landing:
        movq    %rsp, %gs:EBB_FAULT_RSP
        movq    %gs:EBB_FAULT_STACK, %rsp   /* a multiple of 16 */
        movq    $0, %gs:EBB_FAULT_LANDING   /* one that happens now is a mistake of ours */
        pushq   $EBB_USER_SS                /* guest::arch::TrapFrame, from its end */
        pushq   %gs:EBB_FAULT_RSP
        pushfq
        pushq   $EBB_USER_CS
        pushq   %gs:EBB_FAULT_RIP
        pushq   %gs:EBB_FAULT_ERROR
        pushq   $14
        push_general_registers
        pushq   %gs:EBB_FAULT_ADDRESS
        movq    %rsp, %rdi
        cld
        subq    $EBB_VECTOR_BYTES + 8, %rsp
        save_vectors
        call    program_page_fault
        restore_vectors
        testb   %al, %al
        jnz     1f
        leaq    page_fault_landing(%rip), %rax
        movq    %rax, %gs:EBB_FAULT_LANDING
        leaq    EBB_VECTOR_BYTES + 8(%rsp), %rdi
        pushq   $0                          /* a trap as any other: it does not come back */
        jmp     trap_landing
1:      addq    $EBB_VECTOR_BYTES + 8 + 8, %rsp /* the address, too */
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        popq    %rdx
        popq    %rcx
        leaq    page_fault_landing(%rip), %rax
        movq    %rax, %gs:EBB_FAULT_LANDING
        popq    %rax
        addq    $16, %rsp                   /* vector and error code */
        popq    %gs:EBB_FAULT_RIP
        addq    $8, %rsp                    /* CS */
        popfq
        popq    %rsp
        jmp     *%gs:EBB_FAULT_RIP

        .section .note.GNU-stack, "", @progbits
