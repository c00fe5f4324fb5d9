/* SPDX-License-Identifier: MIT
 * What guest/arch/program_entry.S keeps in the guest's own part of the vCPU page, and how it hands a
 * system call over. #defines only: assembly and C++ include this file.
 */
#pragma once

#include "shared/layout.h"

#define EBB_PROGRAM_RIP EBB_VCPU_OWN         /* of the call at hand */
#define EBB_PROGRAM_RSP (EBB_VCPU_OWN + 8)   /* likewise */
#define EBB_KERNEL_RSP (EBB_VCPU_OWN + 16)   /* the kernel's stack while a program runs */
#define EBB_PROGRAM_TRAP (EBB_VCPU_OWN + 24) /* who takes the program's traps; 0: nobody */
#define EBB_PROGRAM_ENTER (EBB_VCPU_OWN + 32) /* address of program_enter_kernel, for patched sites */
#define EBB_PROGRAM_DIVERTED (EBB_VCPU_OWN + 40) /* not 0: calls go on by program_diverted() */
#define EBB_PROGRAM_MASKED (EBB_VCPU_OWN + 44) /* not 0: interrupts are off in the program */
#define EBB_FAULT_LANDING (EBB_VCPU_OWN + 48) /* where page faults go on at CPL3; 0: they are fatal */
#define EBB_FAULT_ERROR (EBB_VCPU_OWN + 56)   /* of the page fault at hand, as the next ones */
#define EBB_FAULT_ADDRESS (EBB_VCPU_OWN + 64)
#define EBB_FAULT_RIP (EBB_VCPU_OWN + 72)
#define EBB_FAULT_RSP (EBB_VCPU_OWN + 80)
#define EBB_FAULT_STACK (EBB_VCPU_OWN + 88) /* top of the stack that page faults are handled on */
#define EBB_PROGRAM_ALARM (EBB_VCPU_OWN + 96) /* TSC at which the program is to be interrupted; 0: never */
#define EBB_PROGRAM_CALLED (EBB_VCPU_OWN + 104) /* not 0: another vCPU has it leave the program */

/* An interrupt that is the program's but comes in the kernel comes again after that time, in ticks
 * of the TSC: the kernel may have looked already. */
#define EBB_INTERRUPT_AGAIN_TICKS 400000

/* Room for what XSAVE stores: all that there is but AMX's tiles. */
#define EBB_EXTENDED_STATE_BYTES 4096
