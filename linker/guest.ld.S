/* SPDX-License-Identifier: MIT
 *
 * Linker script of guest images, preprocessed so that it shares shared/layout.h with C++ and
 * assembly.
 *
 *   IMAGE_START    +----------------------------+
 *                  | header, constants   (r--)  |  __rodata_start
 *   page boundary  +----------------------------+
 *                  | code                (r-x)  |  __text_start, gaps filled with int3
 *   page boundary  +----------------------------+
 *                  | data                (rw-)  |  __data_start
 *                  |  ... end of guest.bin      |  __image_file_end
 *                  | zero-initialised    (rw-)  |
 *   page boundary  +----------------------------+  __image_memory_end; stacks follow
 *
 * Each protection starts on a page of its own and is a program header of its own, so no page is
 * both writable and executable. Virtual and physical addresses are equal. There is no dynamic
 * linking and there are no static constructors: the assertions at the end refuse both.
 */
#include "shared/layout.h"

/* Where hosts of ABI 1.1 and older want it: -DEBB_LOW_IMAGE. */
#ifdef EBB_LOW_IMAGE
#define IMAGE_START EBB_LOW_IMAGE_GPA
#else
#define IMAGE_START EBB_IMAGE_GPA
#endif

OUTPUT_FORMAT("elf64-x86-64")
OUTPUT_ARCH(i386:x86-64)
ENTRY(guest_entry)

PHDRS
{
  constants PT_LOAD FLAGS(4); /* r-- */
  code      PT_LOAD FLAGS(5); /* r-x */
  data      PT_LOAD FLAGS(6); /* rw- */
  stack     PT_GNU_STACK FLAGS(6);
}

SECTIONS
{
  . = IMAGE_START;

  __image_start = .;
  __rodata_start = .;
  .rodata : {
    KEEP(*(.ebb_header))
    *(.rodata .rodata.* .data.rel.ro .data.rel.ro.*)
    /* Workloads register themselves here (guest/workload.hpp): an array without a constructor. */
    . = ALIGN(8);
    __workloads_start = .;
    KEEP(*(SORT(.ebb_workloads.*)))
    __workloads_end = .;
  } :constants
  __rodata_end = .;

  . = ALIGN(0x1000);
  __text_start = .;
  .text : {
    *(.text.hot .text.hot.*)
    *(.text .text.*)
  } :code = 0xcccccccc /* a jump into a gap traps */
  __text_end = .;

  . = ALIGN(0x1000);
  __data_start = .;
  .data : {
    QUAD(0) /* never empty, or objcopy would end guest.bin before __image_file_end */
    *(.data .data.*)
    *(.got .got.plt .igot .igot.plt) /* constant addresses only; nothing is relocated at run time */
    . = ALIGN(16);
    __image_file_end = .;
  } :data
  .bss : {
    *(.bss .bss.* COMMON)
    . = ALIGN(0x1000);
    __image_memory_end = .;
  } :data

  /* Sizes for the image header: assembly cannot subtract symbols of other files. */
  __rodata_bytes = __rodata_end - __rodata_start;
  __text_bytes = __text_end - __text_start;
  __data_bytes = __image_memory_end - __data_start;
  __image_file_bytes = __image_file_end - __image_start;
  __image_memory_bytes = __image_memory_end - __image_start;

  /* Must stay empty: static constructors, thread-local data and dynamic relocations need a runtime
   * that this guest does not have. */
  .init_array : { KEEP(*(.init_array .init_array.* .ctors .ctors.*)) } :data
  .tdata      : { *(.tdata .tdata.* .tbss .tbss.*) } :data
  .plt        : { *(.plt .iplt .plt.*) } :data
  .rela       : { *(.rela .rela.* .rel .rel.*) } :data

  .comment 0 : { *(.comment) }
  .debug_info 0 : { *(.debug_info) }
  .debug_abbrev 0 : { *(.debug_abbrev) }
  .debug_aranges 0 : { *(.debug_aranges) }
  .debug_line 0 : { *(.debug_line) }
  .debug_line_str 0 : { *(.debug_line_str) }
  .debug_str 0 : { *(.debug_str) }
  .debug_str_offsets 0 : { *(.debug_str_offsets) }
  .debug_addr 0 : { *(.debug_addr) }
  .debug_rnglists 0 : { *(.debug_rnglists) }
  .debug_loclists 0 : { *(.debug_loclists) }
  .debug_frame 0 : { *(.debug_frame) }

  /DISCARD/ : { *(.note .note.*) *(.eh_frame .eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*) }
}

ASSERT(SIZEOF(.init_array) == 0, "static constructors: make the object constinit")
ASSERT(SIZEOF(.tdata) == 0, "thread-local data: use the vCPU page")
ASSERT(SIZEOF(.plt) == 0, "dynamic linking in a static image")
ASSERT(SIZEOF(.rela) == 0, "relocations left in a static image")
ASSERT(__image_memory_end - __image_start <= 0x4000000, "image larger than 64 MiB")
