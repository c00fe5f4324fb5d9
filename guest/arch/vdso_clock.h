/* SPDX-License-Identifier: MIT
 * Where the kernel puts the clock's parameters in the vdso's only page. #defines only, below: the
 * linker script includes this file, too.
 */
#pragma once

#define EBB_VDSO_BYTES 0x1000
#define EBB_VDSO_CLOCK 0xf80
