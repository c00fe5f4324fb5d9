/* SPDX-License-Identifier: MIT
 * Constants of abi::ImageHeader as #defines for image_header.S. image_header_check.cpp asserts
 * that they equal the C++ ones, so the two cannot drift apart.
 */
#pragma once

#define EBB_HEADER_VERSION_MAJOR 1
#define EBB_HEADER_VERSION_MINOR 2
#define EBB_HEADER_BYTES 160
#define EBB_HEADER_SEGMENT_EXECUTE 1
#define EBB_HEADER_SEGMENT_WRITE 2
