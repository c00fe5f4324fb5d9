// SPDX-License-Identifier: MIT
// Compile-time agreement between image_header.S and shared/. Holds no code.
#include "guest/arch/image_header_values.h"
#include "shared/abi_version.hpp"
#include "shared/image_header.hpp"

static_assert(EBB_HEADER_VERSION_MAJOR == abi::version_major);
static_assert(EBB_HEADER_VERSION_MINOR == abi::version_minor);
static_assert(EBB_HEADER_BYTES == sizeof(abi::ImageHeader));
static_assert(EBB_HEADER_SEGMENT_EXECUTE == abi::segment_execute);
static_assert(EBB_HEADER_SEGMENT_WRITE == abi::segment_write);
