// SPDX-License-Identifier: MIT
#include "vmm/boot/image.hpp"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "shared/abi_version.hpp"
#include "shared/address.hpp"
#include "shared/known_part.hpp"
#include "vmm/io/file.hpp"

namespace vmm {

namespace {

// True when [offset, offset + length) lies in [0, limit), without overflow.
bool inside(std::uint64_t offset, std::uint64_t length, std::uint64_t limit) {
  return length <= limit && offset <= limit - length;
}

// Copies an object out of the file, or nothing when it does not lie inside.
template <typename T>
std::optional<T> read_at(std::span<const std::byte> file, std::uint64_t offset) {
  if (!inside(offset, sizeof(T), file.size())) {
    return std::nullopt;
  }
  T object;
  std::memcpy(&object, file.data() + offset, sizeof(T));
  return object;
}

bool is_load_address(std::uint64_t gpa) {
  return gpa == EBB_IMAGE_GPA || gpa == EBB_LOW_IMAGE_GPA;
}

bool is_elf(std::span<const std::byte> file) {
  return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

// Lays the ELF file's loadable segments out as objcopy -O binary would.
Result<std::vector<std::byte>> flatten_elf(std::span<const std::byte> file,
                                           const std::string& name) {
  const auto elf = read_at<Elf64_Ehdr>(file, 0);
  if (!elf) {
    return user_error("{}: truncated ELF header ({} bytes)", name, file.size());
  }
  if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64 ||
      elf->e_type != ET_EXEC || elf->e_phentsize != sizeof(Elf64_Phdr)) {
    return user_error("{}: not a static x86-64 ELF executable", name);
  }
  std::vector<std::byte> flat;
  std::uint64_t load_gpa = EBB_IMAGE_GPA;
  for (std::uint64_t index = 0; index < elf->e_phnum; ++index) {
    const std::uint64_t at = index * sizeof(Elf64_Phdr);
    const auto program =
        elf->e_phoff <= file.size() ? read_at<Elf64_Phdr>(file, elf->e_phoff + at) : std::nullopt;
    if (!program) {
      return user_error("{}: program header {} lies outside the file", name, index);
    }
    if (program->p_type != PT_LOAD || program->p_filesz == 0) {
      continue;
    }
    // The first loadable segment starts with the header, which is checked later.
    if (flat.empty() && is_load_address(program->p_paddr)) {
      load_gpa = program->p_paddr;
    }
    if (program->p_paddr < load_gpa ||
        !inside(program->p_paddr - load_gpa, program->p_filesz, max_image_bytes) ||
        !inside(program->p_offset, program->p_filesz, file.size())) {
      return user_error("{}: segment {} lies outside the file or the image area", name, index);
    }
    const std::uint64_t start = program->p_paddr - load_gpa;
    flat.resize(std::max<std::uint64_t>(flat.size(), start + program->p_filesz));
    std::memcpy(flat.data() + start, file.data() + program->p_offset, program->p_filesz);
  }
  return flat;
}

Result<void> check_segments(const abi::ImageHeader& header, const std::string& name) {
  std::uint64_t previous_end = header.load_gpa;
  bool entry_is_code = false;
  bool stubs_are_code = false;
  bool syscall_is_code = header.version_minor < 2 || header.syscall_gpa == 0;
  for (const abi::ImageSegment& segment : header.segments) {
    if (segment.bytes == 0) {
      continue;
    }
    if (segment.gpa % abi::page_bytes != 0 || segment.gpa < previous_end ||
        !inside(segment.gpa - header.load_gpa, segment.bytes, header.memory_bytes)) {
      return user_error("{}: segment at {:#x} is unaligned, overlaps or leaves the image", name,
                        segment.gpa);
    }
    const auto known = static_cast<std::uint32_t>(abi::segment_execute | abi::segment_write);
    if ((segment.flags & known) == known || (segment.flags & ~known) != 0) {
      return user_error("{}: segment at {:#x} is both writable and executable, or has unknown "
                        "flags {:#x}",
                        name, segment.gpa, segment.flags);
    }
    if ((segment.flags & abi::segment_execute) != 0) {
      const auto holds = [&](std::uint64_t gpa, std::uint64_t bytes) {
        return gpa >= segment.gpa && inside(gpa - segment.gpa, bytes, segment.bytes);
      };
      entry_is_code = entry_is_code || holds(header.entry_gpa, 1);
      syscall_is_code = syscall_is_code || holds(header.syscall_gpa, 1);
      stubs_are_code =
          stubs_are_code ||
          holds(header.trap_stubs_gpa, std::uint64_t{EBB_TRAP_VECTORS} * EBB_TRAP_STUB_BYTES);
    }
    previous_end = abi::align_up(segment.gpa + segment.bytes, abi::page_bytes);
  }
  if (!syscall_is_code) {
    return user_error("{}: the entry of system calls {:#x} lies outside executable code", name,
                      header.syscall_gpa);
  }
  if (!entry_is_code || !stubs_are_code) {
    return user_error("{}: entry point {:#x} or trap stubs {:#x} lie outside executable code", name,
                      header.entry_gpa, header.trap_stubs_gpa);
  }
  return {};
}

// What the image knows of the header; a length that is too short for any is for the caller to
// judge.
abi::ImageHeader known_header(std::span<const std::byte> flat) {
  const auto first = abi::known_part<abi::ImageHeader>(flat, abi::image_header_bytes_1_0);
  return abi::known_part<abi::ImageHeader>(
      flat, std::max<std::size_t>(first.header_bytes, abi::image_header_bytes_1_0));
}

Result<abi::ImageHeader> check_header(std::span<const std::byte> flat, const std::string& name) {
  if (flat.size() < abi::image_header_bytes_1_0) {
    return user_error("{}: truncated image: {} bytes, the header alone takes {}", name, flat.size(),
                      abi::image_header_bytes_1_0);
  }
  const auto header = known_header(flat);
  if (header.magic != abi::image_magic) {
    return user_error("{}: not an Ebb guest image: magic {:#018x} instead of {:#018x}", name,
                      header.magic, abi::image_magic);
  }
  if (header.version_major != abi::version_major) {
    return user_error("{}: image speaks ABI {}.{}, this vmm speaks {}.{}; rebuild the guest", name,
                      header.version_major, header.version_minor, abi::version_major,
                      abi::version_minor);
  }
  if (header.header_bytes < abi::image_header_bytes_1_0 || !is_load_address(header.load_gpa)) {
    return user_error("{}: image header has {} bytes and load address {:#x}; expected {} and {:#x} "
                      "or {:#x}",
                      name, header.header_bytes, header.load_gpa, abi::image_header_bytes_1_0,
                      EBB_IMAGE_GPA, EBB_LOW_IMAGE_GPA);
  }
  if (header.memory_bytes > max_image_bytes || header.file_bytes > header.memory_bytes ||
      header.file_bytes < header.header_bytes) {
    return user_error("{}: image of {} bytes in {} bytes of memory is not possible (limit {})",
                      name, header.file_bytes, header.memory_bytes, max_image_bytes);
  }
  if (flat.size() < header.file_bytes) {
    return user_error("{}: truncated image: {} bytes, the header promises {}", name, flat.size(),
                      header.file_bytes);
  }
  EBB_TRY(check_segments(header, name));
  return header;
}

} // namespace

Result<Image> parse_image(std::span<const std::byte> file, const std::string& name) {
  std::vector<std::byte> flat;
  if (is_elf(file)) {
    EBB_TRY_ASSIGN(flattened, flatten_elf(file, name));
    flat = std::move(flattened);
  } else {
    flat.assign(file.begin(), file.end());
  }
  EBB_TRY_ASSIGN(header, check_header(flat, name));
  flat.resize(header.file_bytes);
  return Image{header, std::move(flat)};
}

Result<Image> load_image(const std::string& path) {
  EBB_TRY_ASSIGN(file, read_file(path, 2 * max_image_bytes));
  return parse_image(file, path);
}

} // namespace vmm
