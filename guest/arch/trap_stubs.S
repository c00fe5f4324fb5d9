/* SPDX-License-Identifier: MIT
 *
 * The only code that runs in ring 0. kvm_pvm emulates every instruction here at about 1 us, so a
 * stub does the least that gets the event back to CPL3.
 *
 * Layout: the host points IDT entry n at trap_stubs + n * EBB_TRAP_STUB_BYTES. On entry the
 * processor has switched to the vCPU's trap stack (TSS.RSP0, or IST1 for NMI and double fault) and
 * pushed SS, RSP, RFLAGS, CS, RIP and for some vectors an error code; the interrupted code's red
 * zone lies on another stack and is safe. Interrupts are off (interrupt gates).
 */
#include "shared/layout.h"

        .text
        .balign EBB_TRAP_STUB_BYTES
        .globl  trap_stubs
trap_stubs:
        .set    vector, 0
        .rept   EBB_TRAP_VECTORS
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        /* Vectors 8, 10...14, 17, 21, 29 and 30 come with an error code (SDM vol. 3, 6.15; AMD APM
         * vol. 2, 8.2); the others get a zero so that all frames look alike. */
        .if     !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
        pushq   $0
        .endif
        pushq   $vector
        jmp     trap_to_panic
        .set    vector, vector + 1
        .endr
        .balign EBB_TRAP_STUB_BYTES, 0xcc

/* Turns a fatal trap into a call of trap_landing(TrapFrame*) at CPL3.
 *
 * In: trap stack with vector, error code and the processor's frame.
 * Out: CPL3 in trap_landing, RDI = the TrapFrame built here (guest/arch/trap.hpp), on the trap
 * stack below that frame: the interrupted stack may be the very thing that faulted. A second
 * trap would reuse the trap stack from its top and overwrite the frame; trap_landing notices it
 * is re-entered and gives up at once.
 */
        .balign 16, 0xcc
trap_to_panic:
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
        movq    %cr2, %rax                  /* not readable at CPL3 */
        pushq   %rax
        movq    %rsp, %rdi
        /* RSP + 8 must be a multiple of 16 at a function's entry (psABI); the pushes below must
         * not land in what is handed over, so leave room for them. */
        leaq    -64(%rsp), %rax
        andq    $-16, %rax
        subq    $8, %rax
        pushq   $EBB_USER_SS
        pushq   %rax
        pushq   $2                          /* RFLAGS: interrupts stay off while panicking */
        pushq   $EBB_USER_CS
        pushq   $trap_landing
        iretq

        .section .note.GNU-stack, "", @progbits
