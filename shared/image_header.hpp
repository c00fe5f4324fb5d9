// SPDX-License-Identifier: MIT
// Header at the start of a guest image. guest.bin begins with it; guest.elf carries the same bytes
// at its lowest load address. linker/guest.ld.S places it, guest/arch/image_header.S fills it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/layout.h"

namespace abi {

inline constexpr std::uint64_t image_magic = 0x4547414d49424245; // "EBBIMAGE"

enum SegmentFlags : std::uint32_t {
  segment_execute = 1U << 0,
  segment_write = 1U << 1,
};

// A page-aligned part of the image with one protection. Never both executable and writable.
struct ImageSegment {
  std::uint64_t gpa = 0;   // page aligned
  std::uint64_t bytes = 0; // in memory; 0 for an unused entry
  std::uint32_t flags = 0; // SegmentFlags
  std::uint32_t reserved = 0;
};
static_assert(sizeof(ImageSegment) == 24);
static_assert(offsetof(ImageSegment, bytes) == 8);
static_assert(offsetof(ImageSegment, flags) == 16);

struct ImageHeader {
  std::uint64_t magic = 0;
  std::uint16_t version_major = 0;
  std::uint16_t version_minor = 0;
  std::uint32_t header_bytes = 0; // sizeof(ImageHeader) of the image
  // Where the first byte of the image goes: EBB_IMAGE_GPA or EBB_LOW_IMAGE_GPA (before 1.2 alone).
  std::uint64_t load_gpa = 0;
  std::uint64_t entry_gpa = 0;      // first instruction of vCPU 0, at CPL3
  std::uint64_t file_bytes = 0;     // bytes of the flat image
  std::uint64_t memory_bytes = 0;   // with zero-initialised data; at least file_bytes
  std::uint64_t trap_stubs_gpa = 0; // EBB_TRAP_VECTORS stubs of EBB_TRAP_STUB_BYTES
  std::uint64_t syscall_gpa = 0;    // since 1.2: where SYSCALL enters; 0: nowhere
  ImageSegment segments[4];
};
static_assert(offsetof(ImageHeader, version_major) == 8);
static_assert(offsetof(ImageHeader, header_bytes) == 12);
static_assert(offsetof(ImageHeader, load_gpa) == 16);
static_assert(offsetof(ImageHeader, entry_gpa) == 24);
static_assert(offsetof(ImageHeader, file_bytes) == 32);
static_assert(offsetof(ImageHeader, memory_bytes) == 40);
static_assert(offsetof(ImageHeader, trap_stubs_gpa) == 48);
static_assert(offsetof(ImageHeader, syscall_gpa) == 56);
static_assert(offsetof(ImageHeader, segments) == 64);
static_assert(sizeof(ImageHeader) == 64 + 4 * sizeof(ImageSegment));

// What images of each version have of it, never today's size: a later field must not shut them out.
inline constexpr std::uint32_t image_header_bytes_1_0 = 160;
inline constexpr std::uint32_t image_header_bytes_1_1 = 160;
static_assert(sizeof(ImageHeader) >= image_header_bytes_1_1);

} // namespace abi
