/* SPDX-License-Identifier: MIT
 * The hostile image's way into ring 0: int3 with this in EAX calls the function in RDI there, with
 * RSI and RDX as they are. #defines only: assembly and C++ include this file.
 */
#pragma once

#define EBB_GATE_RING0 0x45424299
