/* SPDX-License-Identifier: MIT
 *
 * The image header (abi::ImageHeader, shared/image_header.hpp), first thing in the image. It is
 * assembly because its fields are addresses that only the linker knows; C++ could fill them in
 * only at run time, and the host needs them before anything runs. guest/arch/image_header_check.cpp
 * asserts that the offsets written here are the struct's.
 */
#include "shared/layout.h"
#include "guest/arch/image_header_values.h"

        .section .ebb_header, "a"
        .balign 8
header_start:
        .ascii  "EBBIMAGE"
        .short  EBB_HEADER_VERSION_MAJOR
        .short  EBB_HEADER_VERSION_MINOR
        .long   EBB_HEADER_BYTES
        .quad   __image_start
        .quad   guest_entry                 /* entry_gpa */
        .quad   __image_file_bytes
        .quad   __image_memory_bytes
        .quad   trap_stubs
        .quad   program_syscall

        /* Segments: one protection each, never writable and executable. */
        .quad   __rodata_start              /* header and constants: read only */
        .quad   __rodata_bytes
        .long   0, 0
        .quad   __text_start                /* code: execute only what is not writable */
        .quad   __text_bytes
        .long   EBB_HEADER_SEGMENT_EXECUTE, 0
        .quad   __data_start                /* data and zero-initialised data */
        .quad   __data_bytes
        .long   EBB_HEADER_SEGMENT_WRITE, 0
        .quad   0, 0                        /* unused */
        .long   0, 0
header_end:
        .if     header_end - header_start - EBB_HEADER_BYTES
        .error  "image_header.S and abi::ImageHeader differ in size"
        .endif

        .section .note.GNU-stack, "", @progbits
