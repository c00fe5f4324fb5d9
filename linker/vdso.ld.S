/* SPDX-License-Identifier: MIT
 *
 * Linker script of the vdso, preprocessed: one page that is read and executed, with the clock's
 * parameters at its end. C libraries look its functions up by name and version, as in Linux.
 */
#include "guest/arch/vdso_clock.h"

OUTPUT_FORMAT("elf64-x86-64")
OUTPUT_ARCH(i386:x86-64)

PHDRS
{
  all     PT_LOAD FILEHDR PHDRS FLAGS(5); /* r-x */
  dynamic PT_DYNAMIC FLAGS(4);
}

SECTIONS
{
  . = SIZEOF_HEADERS;
  .hash          : { *(.hash) } :all
  .gnu.hash      : { *(.gnu.hash) }
  .dynsym        : { *(.dynsym) }
  .dynstr        : { *(.dynstr) }
  .gnu.version   : { *(.gnu.version) }
  .gnu.version_d : { *(.gnu.version_d) }
  .dynamic       : { *(.dynamic) } :all :dynamic
  .rodata        : { *(.rodata .rodata.*) } :all
  .text          : { *(.text .text.*) }
  . = EBB_VDSO_CLOCK;
  .vdso_clock    : { *(.vdso_clock) }
  . = EBB_VDSO_BYTES - 1;
  .end           : { BYTE(0) }
  .rela          : { *(.rela .rela.* .got .got.plt .plt .plt.got .data.rel.ro .dynbss .gnu.version_r) }

  /DISCARD/ : { *(.note .note.* .comment .eh_frame .eh_frame_hdr .sframe .data .bss .debug*) }
}

VERSION
{
  LINUX_2.6 {
    global:
      __vdso_clock_gettime;
      __vdso_gettimeofday;
      __vdso_time;
      __vdso_getcpu;
    local: *;
  };
}

ASSERT(SIZEOF(.rela) == 0, "the vdso is not relocated")
