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
#include "guest/arch/gate.h"
#include "guest/arch/program.h"
#include "guest/arch/save_registers.h"
#include "shared/layout.h"

/* Model-specific registers of the local APIC in x2APIC mode (SDM vol. 3, 11.12) and its timer. */
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_EOI   0x80b
#define MSR_X2APIC_ICR   0x830

/* Lets debuggers see through the stubs: the processor has pushed SS, RSP, RFLAGS, CS, RIP. */
        .macro  entered_from_cpl3
        .cfi_startproc simple
        .cfi_def_cfa rsp, 40
        .cfi_offset rip, -40
        .cfi_offset rsp, -16
        .endm

        .cfi_sections .debug_frame
        .text
        .balign EBB_TRAP_STUB_BYTES
        .globl  trap_stubs
trap_stubs:
        .set    vector, 0
        .rept   EBB_TRAP_VECTORS
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        .if     vector == 3
        jmp     gate
        .elseif vector == 14
        jmp     page_fault
        .elseif vector == EBB_SPURIOUS_VECTOR
        iretq
        .elseif vector >= 32
        jmp     note_interrupt
        .else
        /* Vectors 8, 10...14, 17, 21, 29 and 30 come with an error code (SDM vol. 3, 6.15; AMD APM
         * vol. 2, 8.2); the others get a zero so that all frames look alike. */
        .if     !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
        pushq   $0
        .endif
        pushq   $vector
        jmp     trap_to_landing
        .endif
        .set    vector, vector + 1
        .endr
        .balign EBB_TRAP_STUB_BYTES, 0xcc

/* An interrupt does no more than note that there was one, for whoever halts or looks next. One that
 * comes at the halt is its end, and goes back to the gate's caller from there.
 *
 * In: the processor's frame, on the trap stack (from CPL3) or below the halt gate's (from ring 0).
 * GS base is the vCPU page in ring 0, too: there is no swapgs anywhere.
 */
note_interrupt:
        entered_from_cpl3
        .cfi_signal_frame                   /* between any two instructions */
        testb   $3, 8(%rsp)                 /* CS */
        jz      end_halt
note_only:
        pushq   %rax
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rax, 0
        pushq   %rcx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rcx, 0
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rdx, 0
        movl    $1, %gs:EBB_VCPU_WAKE_PENDING
        movl    $MSR_X2APIC_EOI, %ecx
        xorl    %eax, %eax
        xorl    %edx, %edx
        wrmsr
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rdx
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rcx
        popq    %rax
        .cfi_adjust_cfa_offset -8
        .cfi_restore rax
        /* A signal, what a thread waits for outside, another vCPU, or a timer of a program reaches it
         * between two instructions; the kernel sees it at its end of a call, or when it wakes, and what comes
         * behind that look comes again. */
        cmpq    $0, %gs:EBB_VCPU_SIGNALS_SENT
        jne     1f
        cmpq    $0, %gs:EBB_VCPU_STREAMS_READY
        jne     1f
        cmpq    $0, %gs:EBB_PROGRAM_ALARM
        jne     1f
        cmpl    $0, %gs:EBB_PROGRAM_CALLED
        jne     1f
        iretq
1:      pushq   %rax
        pushq   %rcx
        movq    16(%rsp), %rax              /* where it was interrupted */
        leaq    __text_start(%rip), %rcx
        cmpq    %rcx, %rax
        jb      2f
        leaq    __text_end(%rip), %rcx
        cmpq    %rcx, %rax
        jb      3f
2:      popq    %rcx
        popq    %rax
        pushq   $0
        pushq   $EBB_WAKE_VECTOR
        jmp     trap_to_landing
3:      pushq   %rdx
        rdtsc
        addl    $EBB_INTERRUPT_AGAIN_TICKS, %eax
        adcl    $0, %edx
        movl    $MSR_TSC_DEADLINE, %ecx
        wrmsr
        popq    %rdx
        popq    %rcx
        popq    %rax
        iretq
        .cfi_endproc

/* The interrupt that ends a halt finds the processor behind the hlt, or at it: an emulated one that
 * leaves its guest between sti and hlt may forget that interrupts are held off until the hlt (QEMU's
 * VMRUN does). To go on there would be a halt whose wake is gone. Anywhere else in ring 0 interrupts
 * are off, but the same processor has been seen to deliver one twice.
 *
 * RAX, RCX and RDX are lost, as in the gate. The stack has been aligned before the frame was pushed:
 * where the gate's own frame is, this one tells.
 */
end_halt:
        entered_from_cpl3
        .cfi_signal_frame
        cmpl    $behind_hlt, (%rsp)         /* RIP: all of ring 0 is below 4 GiB */
        je      1f
        cmpl    $at_hlt, (%rsp)
        jne     note_only
1:      movl    $MSR_X2APIC_EOI, %ecx
        xorl    %eax, %eax
        xorl    %edx, %edx
        wrmsr
        movq    24(%rsp), %rsp
        iretq
        .cfi_endproc

/* Functions that only ring 0 can do, for guest/arch/cpu.hpp.
 *
 * In: EAX = function, RDI = argument. Out: RAX, RCX, RDX are lost, the rest is kept.
 * Interrupts are off on entry, so an interrupt comes either before the look at wake_pending or
 * behind the sti, where it is the end of the halt.
 */
gate:
        entered_from_cpl3
        cmpl    $EBB_GATE_HALT, %eax
        jne     1f
        cmpl    $0, %gs:EBB_VCPU_WAKE_PENDING
        jne     2f
        call    set_deadline                /* of 0 disarms the timer */
        sti
at_hlt: hlt                                 /* goes on in end_halt */
behind_hlt:
        jmp     at_hlt                      /* after a spurious interrupt */
2:      movl    $0, %gs:EBB_VCPU_WAKE_PENDING
        iretq
1:      cmpl    $EBB_GATE_RESUME, %eax
        jne     6f
        movq    %rdi, %rsp
        popq    %rax
        popq    %rdi
        iretq
6:      cmpl    $EBB_GATE_FLUSH, %eax
        jne     7f
        movq    %cr3, %rdx
        movq    %rdx, %cr3
        iretq
7:      cmpl    $EBB_GATE_ALARM, %eax
        jne     8f
        call    set_deadline
        iretq
8:      cmpl    $EBB_GATE_WAKE, %eax
        jne     3f
        movl    $MSR_X2APIC_ICR, %ecx
        movl    $EBB_WAKE_VECTOR, %eax      /* fixed delivery, edge, physical destination */
        movl    %edi, %edx                  /* destination: bits 63...32 */
        wrmsr
        iretq
3:      cmpl    $EBB_GATE_VMCALL, %eax      /* KVM answers hypercalls of ring 0 only */
        jne     4f
        movl    $EBB_DOORBELL_CALL, %eax
        vmcall
        iretq
4:      cmpl    $EBB_GATE_VMMCALL, %eax
        jne     5f
        movl    $EBB_DOORBELL_CALL, %eax
        vmmcall
        iretq
5:      .cfi_endproc
        pushq   $0                          /* a breakpoint that nobody set */
        pushq   $3
        jmp     trap_to_landing

set_deadline:                               /* RDI */
        movl    $MSR_TSC_DEADLINE, %ecx
        movq    %rdi, %rdx
        movl    %edi, %eax
        shrq    $32, %rdx
        wrmsr
        ret

/* A page fault of the program, or of the kernel on the program's behalf: goes on at CPL3 in
 * page_fault_landing (guest/arch/page_fault.S), with all registers as they were. Without a landing,
 * or while one is at work, it is a trap like others.
 *
 * In: trap stack with the error code and the processor's frame.
 */
page_fault:
        cmpq    $0, %gs:EBB_FAULT_LANDING
        jne     1f
        pushq   $14
        jmp     trap_to_landing
1:      popq    %gs:EBB_FAULT_ERROR
        pushq   %rax
        movq    %cr2, %rax                  /* not readable at CPL3 */
        movq    %rax, %gs:EBB_FAULT_ADDRESS
        movq    8(%rsp), %rax
        movq    %rax, %gs:EBB_FAULT_RIP
        movq    %gs:EBB_FAULT_LANDING, %rax
        movq    %rax, 8(%rsp)
        popq    %rax
        iretq

/* Turns a trap into a call of trap_landing(TrapFrame*) at CPL3 (guest/arch/trap_landing.S).
 *
 * In: trap stack with vector, error code and the processor's frame.
 * Out: CPL3 in trap_landing, RDI = the TrapFrame built here (guest/arch/trap.hpp), on the trap
 * stack below that frame: the interrupted stack may be the very thing that faulted. A second
 * trap would reuse the trap stack from its top and overwrite the frame.
 */
trap_to_landing:
        push_general_registers
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
        pushq   $2                          /* RFLAGS: interrupts stay off, they use this stack */
        pushq   $EBB_USER_CS
        leaq    trap_landing(%rip), %rax    /* too high for an immediate operand */
        pushq   %rax
        iretq

/* Above, a debugger sets no breakpoints: this fails when it has become too small. */
        .org    trap_stubs + EBB_TRAP_CODE_BYTES, 0xcc

        .section .note.GNU-stack, "", @progbits
