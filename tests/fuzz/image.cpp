// SPDX-License-Identifier: MIT
// Any bytes as a guest image: refused with one line, or an image that keeps to its own bounds.
#include <cstring>
#include <string>
#include <vector>

#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/boot/image.hpp"

namespace {

void parse(std::span<const std::byte> bytes) {
  const auto image = vmm::parse_image(bytes, "fuzz");
  if (!image) {
    fuzz::require(image.error().error_class == vmm::ErrorClass::user);
    fuzz::require(image.error().message.find('\n') == std::string::npos);
    return;
  }
  const abi::ImageHeader& header = image->header;
  fuzz::require(image->bytes.size() == header.file_bytes);
  fuzz::require(header.file_bytes <= header.memory_bytes &&
                header.memory_bytes <= vmm::max_image_bytes);
  std::uint64_t end = header.load_gpa;
  for (const abi::ImageSegment& segment : header.segments) {
    if (segment.bytes != 0) {
      fuzz::require(segment.gpa >= end && segment.bytes <= vmm::max_image_bytes);
      end = segment.gpa + segment.bytes;
      fuzz::require(end <= header.load_gpa + header.memory_bytes);
    }
  }
}

// A header that is accepted, before some of its bytes are changed.
abi::ImageHeader good_header() {
  abi::ImageHeader header;
  header.magic = abi::image_magic;
  header.version_major = abi::version_major;
  header.version_minor = abi::version_minor;
  header.header_bytes = sizeof header;
  header.load_gpa = EBB_LOW_IMAGE_GPA;
  header.entry_gpa = EBB_LOW_IMAGE_GPA + 0x1000;
  header.trap_stubs_gpa = EBB_LOW_IMAGE_GPA + 0x1100;
  header.file_bytes = 0x3000;
  header.memory_bytes = 0x5000;
  header.segments[0] = {EBB_LOW_IMAGE_GPA, 0x1000, 0, 0};
  header.segments[1] = {EBB_LOW_IMAGE_GPA + 0x1000, 0x1000, abi::segment_execute, 0};
  header.segments[2] = {EBB_LOW_IMAGE_GPA + 0x2000, 0x3000, abi::segment_write, 0};
  return header;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  if (bytes.take<std::uint8_t>() % 2 == 0) {
    parse(std::as_bytes(bytes.rest()));
    return 0;
  }
  const abi::ImageHeader header = good_header();
  std::vector<std::byte> file(header.file_bytes);
  std::memcpy(file.data(), &header, sizeof header);
  while (!bytes.empty()) {
    const std::size_t at =
        bytes.below(sizeof header / sizeof(std::uint32_t)) * sizeof(std::uint32_t);
    const auto word = bytes.take<std::uint32_t>();
    std::memcpy(file.data() + at, &word, sizeof word);
    parse(file);
  }
  parse(file);
  return 0;
}
