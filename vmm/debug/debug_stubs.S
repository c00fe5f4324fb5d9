/* SPDX-License-Identifier: MIT
 *
 * Trap stubs of the host's own (vmm/trap_frames.hpp): where the exceptions of a guest go that is
 * being debugged. A stub tells the host, which looks at the frame on the stack and moves the vCPU
 * elsewhere, so nothing behind the output ever runs. The output changes no register.
 *
 * The host copies [debug_stubs, debug_stubs_end) to EBB_DEBUG_CODE_GPA.
 */
#include "shared/layout.h"

        .section .rodata
        .balign EBB_TRAP_STUB_BYTES
        .globl  debug_stubs
debug_stubs:
        .rept   32
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        outb    %al, $EBB_PORT_DEBUG
1:      jmp     1b
        .endr
        .balign EBB_TRAP_STUB_BYTES, 0xcc
        .globl  debug_stubs_end
debug_stubs_end:

        .section .note.GNU-stack, "", @progbits
