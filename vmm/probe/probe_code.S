/* SPDX-License-Identifier: MIT
 *
 * What the throw-away guest of vmm/probe/probe_vm.cpp runs; it copies [probe_code, probe_code_end) to
 * EBB_LOW_IMAGE_GPA, so this is position independent. Entered at CPL3 at one of the entry points.
 */
#include "shared/layout.h"

#define PROBE_PORT_TRAP 0x80 /* unknown to the host: something went wrong */

        .section .rodata
        .balign 16
        .globl  probe_code
probe_code:

/* Rings the doorbell port R8 times, then uses the hypercall port. */
        .globl  probe_ports
probe_ports:
        movl    $EBB_PORT_DOORBELL, %edx
1:      outl    %eax, %dx
        decq    %r8
        jnz     1b
        jmp     done

/* Rings once, then writes a byte R8 times: at R10, and R11 further on each time. */
        .globl  probe_touch
probe_touch:
        movl    $EBB_PORT_DOORBELL, %edx
        outl    %eax, %dx
1:      movb    $1, (%r10)
        addq    %r11, %r10
        decq    %r8
        jnz     1b
        jmp     done

/* As probe_ports, through the gate, with VMCALL (R9 = 0) or VMMCALL (R9 = 1). RBX, RCX, RDX are the
 * call's arguments. */
        .globl  probe_calls
probe_calls:
1:      int3
        decq    %r8
        jnz     1b
done:
        movl    $EBB_PORT_HYPERCALL, %edx
        outl    %eax, %dx
2:      jmp     2b

/* Ring 0, entered by int3. */
call_gate:
        movl    $EBB_DOORBELL_CALL, %eax
        testq   %r9, %r9
        jnz     1f
        vmcall
        iretq
1:      vmmcall
        iretq

        .balign EBB_TRAP_STUB_BYTES
        .globl  probe_stubs
probe_stubs:
        .set    vector, 0
        .rept   EBB_TRAP_VECTORS
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        .if     vector == 3
        jmp     call_gate
        .else
        outl    %eax, $PROBE_PORT_TRAP
        hlt
        .endif
        .set    vector, vector + 1
        .endr
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        .globl  probe_code_end
probe_code_end:

        .section .note.GNU-stack, "", @progbits
