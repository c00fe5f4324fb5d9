/* SPDX-License-Identifier: MIT
 * The vdso's page as a part of the guest's image; the kernel sets its clock.
 */
#include "guest/arch/vdso_clock.h"

        .section .data.vdso_image, "aw"
        .globl  vdso_image
vdso_image:
        .incbin EBB_VDSO_FILE, 0, EBB_VDSO_BYTES /* without section headers */

        .section .note.GNU-stack, "", @progbits
