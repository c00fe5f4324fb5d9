/* SPDX-License-Identifier: MIT
 *
 * What a hostile image does in ring 0: its trap stubs are its own (the linker puts these in place
 * of guest/arch's, --wrap), and so nothing keeps its body out of there. Each routine is called
 * through the gate with interrupts off; those that come back end in ret.
 */
#include "shared/layout.h"
#include "tests/hostile/ring0.h"

        .text
        .balign EBB_TRAP_STUB_BYTES
        .globl  __wrap_trap_stubs
__wrap_trap_stubs:
        .set    vector, 0
        .rept   EBB_TRAP_VECTORS
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        .if     vector == 3
        jmp     hostile_gate
        .else
        jmp     __real_trap_stubs + vector * EBB_TRAP_STUB_BYTES
        .endif
        .set    vector, vector + 1
        .endr
        .balign EBB_TRAP_STUB_BYTES, 0xcc

        .balign 16, 0xcc
hostile_gate:
        cmpl    $EBB_GATE_RING0, %eax
        jne     __real_trap_stubs + 3 * EBB_TRAP_STUB_BYTES
        call    *%rdi
        iretq

/* Runs RDI = one of the routines below in ring 0. */
        .balign 16, 0xcc
        .globl  hostile_ring0
hostile_ring0:
        movl    $EBB_GATE_RING0, %eax
        int3
        ret

/* RSI = page table root. */
        .balign 16, 0xcc
        .globl  ring0_load_tables
ring0_load_tables:
        movq    %rsi, %cr3
        ret

/* An exception without anything to deliver it with. */
        .balign 16, 0xcc
        .globl  ring0_triple_fault
ring0_triple_fault:
        pushq   $0
        pushq   $0
        lidt    (%rsp)
        ud2

        .balign 16, 0xcc
        .globl  ring0_spin
ring0_spin:
        jmp     ring0_spin

/* Interrupts are off: nothing wakes it. */
        .balign 16, 0xcc
        .globl  ring0_halt
ring0_halt:
        hlt
        jmp     ring0_halt

        .balign 16, 0xcc
        .globl  ring0_vmcall
ring0_vmcall:
        movl    %esi, %eax
        vmcall
        ret

/* RSI = where to; never comes back. */
        .balign 16, 0xcc
        .globl  ring0_jump
ring0_jump:
        jmp     *%rsi

        .balign 16, 0xcc
        .globl  ring0_paging_off
ring0_paging_off:
        movq    %cr0, %rax
        andl    $0x7fffffff, %eax
        movq    %rax, %cr0
        ud2

/* RSI = port. */
        .balign 16, 0xcc
        .globl  ring0_input
ring0_input:
        movl    %esi, %edx
        inl     %dx, %eax
        ret

/* RSI = port: a byte, which is no hypercall. */
        .balign 16, 0xcc
        .globl  ring0_output_byte
ring0_output_byte:
        movl    %esi, %edx
        outb    %al, %dx
        ret

/* RSI = port: a string of words out of the boot info. */
        .balign 16, 0xcc
        .globl  ring0_output_string
ring0_output_string:
        movl    %esi, %edx
        movl    $EBB_BOOT_INFO_GPA, %esi
        movl    $64, %ecx
        rep outsl
        ret

        .section .note.GNU-stack, "", @progbits
