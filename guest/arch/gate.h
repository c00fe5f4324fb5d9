/* SPDX-License-Identifier: MIT
 * The gate from CPL3 into ring 0: int3 with a function number in EAX. SYSCALL and int N do not get
 * there on every host (kvm_pvm), int3 through a DPL 3 gate does. #defines only: assembly and C++
 * include this file. An int3 with any other EAX is a breakpoint.
 */
#pragma once

/* RDI = TSC deadline, 0 for none. Halts until an interrupt, or not at all if one has come since
 * the last halt. */
#define EBB_GATE_HALT 0x45424201
/* RDI = APIC id. Raises EBB_WAKE_VECTOR on that vCPU. */
#define EBB_GATE_WAKE 0x45424202
/* RBX, RCX, RDX = arguments of the doorbell (shared/doorbell.hpp). VMCALL and VMMCALL. */
#define EBB_GATE_VMCALL 0x45424203
#define EBB_GATE_VMMCALL 0x45424204
/* RDI = address of RAX, RDI, RIP, CS, RFLAGS, RSP, SS: goes on there, with the other registers as
 * they are. Not on the trap stack. */
#define EBB_GATE_RESUME 0x45424205
/* RDI = TSC deadline: raises EBB_TIMER_VECTOR then. */
#define EBB_GATE_ALARM 0x45424207
/* Forgets what this vCPU has read of the page tables. */
#define EBB_GATE_FLUSH 0x45424206
