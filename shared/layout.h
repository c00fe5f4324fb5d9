/* SPDX-License-Identifier: MIT
 * Guest-physical memory map and port numbers: #defines only, because C++, assembly and the linker
 * script include this file.
 *
 *   0x000000  page 0, never mapped (null dereferences fault)
 *   0x001000  GDT, IDT, TSSs                 host-written, supervisor
 *   0x005000  boot info                      host-written, guest reads
 *   0x006000  guest status                   guest-written, host samples
 *   0x007000  the host's own trap stubs      with a debugger only; supervisor
 *   0x010000  vCPU pages, one each           hypercall arguments, GS base
 *   0x020000  report channels, one per vCPU  rings and descriptor pages
 *   0x0b0000  guest event ring               guest-written, with feature_trace
 *   0x100000  page tables                    host-written, mapped for Linux programs only
 *   0x400000  free memory, from BootInfo::free_start_gpa
 * 0xe0000000  guest image, then stacks; then memory of the guest's own from
 *             BootInfo::own_start_gpa to own_end_gpa, which is no RAM and never hinted
 *
 * All RAM up to BootInfo::free_start_gpa is reserved: hints there are answered as failed. The image
 * lies far above, in the hole of RAM, so that Linux programs find the low addresses free that they
 * are linked to. Images of ABI 1.1 and older lie at 0x400000, their stacks behind them and free
 * memory behind those.
 */
#pragma once

#define EBB_MAX_VCPUS 16

#define EBB_GDT_GPA 0x1000
#define EBB_IDT_GPA 0x2000
#define EBB_TSS_GPA 0x3000 /* EBB_MAX_VCPUS task state segments of EBB_TSS_BYTES */
#define EBB_TSS_BYTES 0x200
#define EBB_BOOT_INFO_GPA 0x5000
#define EBB_STATUS_GPA 0x6000
#define EBB_DEBUG_CODE_GPA 0x7000    /* one page: the host's trap stubs, for a debugger */
#define EBB_DEBUG_STACK_GPA 0x8000   /* EBB_MAX_VCPUS stacks of EBB_DEBUG_STACK_BYTES for them */
#define EBB_DEBUG_STACK_BYTES 0x100
#define EBB_VCPU_PAGE_GPA 0x10000    /* EBB_MAX_VCPUS pages */
#define EBB_CHANNEL_GPA 0x20000      /* EBB_MAX_VCPUS channels of EBB_CHANNEL_BYTES */
#define EBB_CHANNEL_BYTES 0x9000     /* one page of rings, eight descriptor pages */
#define EBB_EVENT_RING_GPA 0xb0000   /* guest events, with feature_trace */
#define EBB_EVENT_RING_BYTES 0x41000 /* one page of indices, 8192 events */
#define EBB_PAGE_TABLE_GPA 0x100000
#define EBB_PAGE_TABLE_END 0x400000
#define EBB_LOW_IMAGE_GPA 0x400000 /* of images of ABI 1.1 and older */
#define EBB_IMAGE_GPA 0xe0000000
#define EBB_IMAGE_AREA_END 0xfec00000 /* where interrupt hardware begins */

/* Segment selectors of the GDT that the host builds; DPL 3 selectors carry RPL 3. */
#define EBB_KERNEL_CS 0x08
#define EBB_KERNEL_SS 0x10
#define EBB_USER_SS 0x1b
#define EBB_USER_CS 0x23
#define EBB_TSS_SELECTOR 0x28 /* + 16 per vCPU: a 64-bit TSS descriptor takes two slots */

/* Ports of the hypercall interface. The TSS I/O bitmap opens the ports below EBB_PORT_LIMIT to
 * CPL3; the host ends a guest that uses one it does not know. */
#define EBB_PORT_HYPERCALL 0x500 /* 32-bit out; arguments are in the vCPU page */
#define EBB_PORT_DOORBELL 0x504  /* 32-bit out of the channel's number */
#define EBB_PORT_LIMIT 0x508
#define EBB_PORT_DEBUG 0xeb /* of the host's trap stubs; unknown without a debugger */

/* RAX of a doorbell rung by VMCALL or VMMCALL (shared/doorbell.hpp): KVM_HC_MAP_GPA_RANGE. */
#define EBB_DOORBELL_CALL 12

/* Interrupt vectors, since ABI 1.1 (feature_interrupt). */
#define EBB_WAKE_VECTOR 32     /* raised by the host, or by another vCPU */
#define EBB_TIMER_VECTOR 33    /* the local timer; the host sets up the LVT entry */
#define EBB_SPURIOUS_VECTOR 47 /* must not be acknowledged */

/* Trap stubs: stub n starts at ImageHeader::trap_stubs_gpa + n * EBB_TRAP_STUB_BYTES. */
#define EBB_TRAP_STUB_BYTES 16
#define EBB_TRAP_VECTORS 48 /* 32 exceptions, then 16 interrupt vectors */
#define EBB_TRAP_CODE_BYTES 0x500 /* stubs, and the rest of the code that runs in ring 0 */

/* In a vCPU page, behind abi::VcpuPage. */
#define EBB_FILE_MAILBOX 1536 /* abi::FileMailbox, with feature_files */
#define EBB_SOCKET_MAILBOX 1664 /* abi::SocketMailbox, with feature_sockets */
#define EBB_VCPU_OWN 2048     /* from here on it is the guest's own */

/* Offset of abi::VcpuPage::wake_pending; shared/hypercall.hpp asserts it. */
#define EBB_VCPU_WAKE_PENDING 12
#define EBB_VCPU_STREAMS_READY 40
/* Likewise of signals_sent. */
#define EBB_VCPU_SIGNALS_SENT 112
