// SPDX-License-Identifier: MIT
#include "vmm/memory/guest_memory.hpp"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

#include "vmm/base/sanitizers.hpp"

namespace vmm {
namespace {

// Below the addresses that the kernel gives out by itself, so that guest RAM comes first among the
// process's mappings and a reader of smaps can stop early. Further tries serve several guests in
// one process.
constexpr std::uintptr_t preferred_address = 0x1000'0000'0000;
constexpr std::uintptr_t preferred_step = std::uintptr_t{1} << 40;
// ThreadSanitizer ends a process that maps where its shadow may be.
constexpr unsigned preferred_tries = has_thread_sanitizer ? 0 : 8;

constexpr std::uint64_t address_alignment = std::uint64_t{1} << 30;

bool has_file(Backing backing) {
  return backing == Backing::memfd || backing == Backing::hugetlb;
}

std::byte* to_bytes(void* address) {
  return static_cast<std::byte*>(address);
}

void* to_address(std::uintptr_t address) {
  // Justified: an address for mmap to place a mapping at, not dereferenced here.
  return reinterpret_cast<void*>(address); // NOLINT(performance-no-int-to-ptr)
}

// A number from the host's 2 MiB page pool; 0 when the host has none.
std::uint64_t huge_page_pool(const char* name) {
  std::ifstream file(fmt::format("/sys/kernel/mm/hugepages/hugepages-2048kB/{}", name));
  std::uint64_t pages = 0;
  file >> pages;
  return file ? pages : 0;
}

std::unexpected<Error> huge_page_error(std::uint64_t size_bytes) {
  const std::uint64_t needed = size_bytes / abi::huge_page_bytes;
  const std::uint64_t pool = huge_page_pool("nr_hugepages");
  const std::uint64_t free = huge_page_pool("free_hugepages");
  const std::uint64_t promised = huge_page_pool("resv_hugepages");
  const std::uint64_t available = free - std::min(free, promised);
  return environment_error("{} MiB of guest memory need {} huge pages of 2 MiB and the host has {} "
                           "to give: put at least {} in /proc/sys/vm/nr_hugepages",
                           size_bytes >> 20, needed, available,
                           pool - std::min(pool, available) + needed);
}

// mmap that never replaces a mapping; null when `address` is taken or the kernel chose another.
std::byte* map_exactly(std::uintptr_t address, std::uint64_t bytes, int flags, int fd) {
  void* const wanted = to_address(address);
  void* const got =
      ::mmap(wanted, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd, 0);
  if (got == MAP_FAILED) {
    return nullptr;
  }
  if (got != wanted) {
    // A kernel before 4.17 takes the address for a mere hint.
    ::munmap(got, bytes);
    errno = EEXIST;
    return nullptr;
  }
  return to_bytes(got);
}

// Maps at an aligned address of the kernel's choice; null on failure.
std::byte* map_anywhere(std::uint64_t bytes, int flags, int fd) {
  const std::uint64_t room_bytes = bytes + address_alignment;
  void* const room =
      ::mmap(nullptr, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) {
    return nullptr;
  }
  // Justified: alignment arithmetic needs the number.
  const auto start = reinterpret_cast<std::uintptr_t>(room);
  const std::uint64_t head_bytes = abi::align_up(start, address_alignment) - start;
  std::byte* const aligned = to_bytes(room) + head_bytes;
  void* const got = ::mmap(aligned, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
  if (got == MAP_FAILED) {
    const int saved = errno;
    ::munmap(room, room_bytes);
    errno = saved;
    return nullptr;
  }
  if (head_bytes != 0) {
    ::munmap(room, head_bytes);
  }
  ::munmap(aligned + bytes, room_bytes - head_bytes - bytes);
  return aligned;
}

} // namespace

void GuestMemory::Unmap::operator()(std::byte* address) const {
  ::munmap(address, bytes);
}

Result<GuestMemory> GuestMemory::create(std::uint64_t size_bytes, Backing backing, RamHole hole) {
  const std::uint64_t unit_bytes =
      backing == Backing::hugetlb ? abi::huge_page_bytes : abi::page_bytes;
  if (size_bytes == 0 || size_bytes > max_guest_memory_bytes) {
    return user_error("guest memory of {} bytes: allowed are up to {} GiB", size_bytes,
                      max_guest_memory_bytes >> 30);
  }
  if (size_bytes % unit_bytes != 0) {
    return user_error("guest memory of {} bytes is not a multiple of {} KiB, which the {} backing "
                      "needs",
                      size_bytes, unit_bytes >> 10, name_of(backing));
  }
  if (size_bytes <= hole.start.value) {
    hole = {}; // RAM does not reach it
  }
  const std::uint64_t mapped_bytes = size_bytes + hole.bytes();
  UniqueFd fd;
  if (has_file(backing)) {
    EBB_TRY_ASSIGN(file, create_file(mapped_bytes, backing));
    fd = std::move(file);
  }
  EBB_TRY_ASSIGN(mapping, map(mapped_bytes, backing, fd.get(), hole));
  GuestMemory memory(std::move(mapping), std::move(fd), backing, hole);
  EBB_TRY(memory.apply_advice());
  return memory;
}

Result<UniqueFd> GuestMemory::create_file(std::uint64_t size_bytes, Backing backing) {
  const unsigned huge_flags = backing == Backing::hugetlb ? MFD_HUGETLB | MFD_HUGE_2MB : 0U;
  UniqueFd fd(::memfd_create("ebb-guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING | huge_flags));
  if (!fd.valid()) {
    return system_error("cannot create a memory file for the {} backing", name_of(backing));
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
    return system_error("cannot size the memory file to {} MiB", size_bytes >> 20);
  }
  // The length is what at() checks against: nobody the fd is passed to may change it.
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return system_error("cannot seal the length of the memory file");
  }
  return fd;
}

Result<GuestMemory::Mapping> GuestMemory::map(std::uint64_t mapped_bytes, Backing backing, int fd,
                                              RamHole hole) {
  const int shared_flags = has_file(backing) ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  // A huge page that is missing at first touch would be a SIGBUS, so hugetlb reserves below.
  const int flags = shared_flags | MAP_NORESERVE;
  std::byte* address = nullptr;
  for (unsigned attempt = 0; attempt < preferred_tries && address == nullptr; ++attempt) {
    address = map_exactly(preferred_address + attempt * preferred_step, mapped_bytes, flags, fd);
    if (address == nullptr && errno != EEXIST) {
      break;
    }
  }
  if (address == nullptr) {
    address = map_anywhere(mapped_bytes, flags, fd);
  }
  if (address == nullptr) {
    return system_error("cannot map {} MiB of guest memory", mapped_bytes >> 20);
  }
  Mapping mapping(address, Unmap{mapped_bytes});
  if (backing == Backing::hugetlb) {
    // Maps the parts that are RAM once more, this time with pages promised to them.
    const std::uint64_t low_bytes = hole.bytes() != 0 ? hole.start.value : mapped_bytes;
    for (const auto& [start, bytes] :
         {std::pair(std::uint64_t{0}, low_bytes),
          std::pair(hole.end.value, mapped_bytes - low_bytes - hole.bytes())}) {
      if (bytes != 0 &&
          ::mmap(address + start, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 static_cast<off_t>(start)) == MAP_FAILED) {
        return errno == ENOMEM ? huge_page_error(mapped_bytes - hole.bytes())
                               : system_error("cannot reserve {} MiB of huge pages", bytes >> 20);
      }
    }
  }
  return mapping;
}

Result<void> GuestMemory::apply_advice() {
  // A core dump without the guest is small, and a forked child has no business with guest RAM
  // (copy-on-write would make every discard in the parent free nothing).
  if (::madvise(base(), mapped_bytes(), MADV_DONTDUMP) != 0 ||
      ::madvise(base(), mapped_bytes(), MADV_DONTFORK) != 0) {
    return system_error("cannot set the fork and dump policy of guest memory");
  }
  if (backing_ == Backing::thp && ::madvise(base(), mapped_bytes(), MADV_HUGEPAGE) != 0) {
    return system_error("the host kernel has no transparent huge pages, use the {} backing",
                        name_of(Backing::small_pages));
  }
  // EINVAL: a kernel without transparent huge pages, which is what is asked for.
  if (backing_ == Backing::small_pages && ::madvise(base(), mapped_bytes(), MADV_NOHUGEPAGE) != 0 &&
      errno != EINVAL) {
    return system_error("cannot keep huge pages out of guest memory");
  }
  return {};
}

// Close behind RAM's mapping if that is free, for readers of smaps.
Result<void> GuestMemory::add_own_area(abi::Gpa start, abi::Gpa end) {
  assert(own_ == nullptr && start < end);
  if (start.value < mapped_bytes() && !(hole_.start <= start && end <= hole_.end)) {
    return user_error("guest memory of {} MiB leaves no room for a guest image at {:#x}",
                      size_bytes() >> 20, start.value);
  }
  const std::uint64_t bytes = end - start;
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  std::byte* address = nullptr;
  if (preferred_tries != 0) {
    // Justified: an address for mmap. The gap keeps the two mappings two.
    const auto behind = reinterpret_cast<std::uintptr_t>(base()) + mapped_bytes();
    address = map_exactly(abi::align_up(behind, abi::huge_page_bytes) + abi::huge_page_bytes, bytes,
                          flags, -1);
  }
  if (address == nullptr) {
    address = map_anywhere(bytes, flags, -1);
  }
  if (address == nullptr) {
    return system_error("cannot map {} MiB for the guest image", bytes >> 20);
  }
  own_ = Mapping(address, Unmap{bytes});
  own_start_ = start;
  if (::madvise(address, bytes, MADV_DONTDUMP) != 0 ||
      ::madvise(address, bytes, MADV_DONTFORK) != 0 ||
      // EINVAL: a kernel without transparent huge pages.
      (::madvise(address, bytes, MADV_NOHUGEPAGE) != 0 && errno != EINVAL)) {
    return system_error("cannot set the policy of the guest image's memory");
  }
  return {};
}

std::span<std::byte> GuestMemory::at(abi::Gpa gpa, std::uint64_t bytes) const {
  const std::span<std::byte> own = own_area();
  if (gpa >= own_start_ && gpa - own_start_ < own.size() &&
      bytes <= own.size() - (gpa - own_start_)) {
    return own.subspan(gpa - own_start_, bytes);
  }
  if (bytes > mapped_bytes() || gpa.value > mapped_bytes() - bytes ||
      hole_.touches(gpa, gpa + bytes)) {
    return {};
  }
  return {base() + gpa.value, static_cast<std::size_t>(bytes)};
}

Result<void> GuestMemory::set_small_page_prefix(abi::Gpa end) {
  if (end.value > mapped_bytes()) {
    return user_error("{:#x} bytes in small pages asked for in guest memory of {:#x}", end.value,
                      mapped_bytes());
  }
  const std::uint64_t prefix_bytes = abi::align_up(end.value, abi::page_bytes);
  if (backing_ != Backing::thp || prefix_bytes <= small_page_prefix_bytes_) {
    return {};
  }
  if (::madvise(base() + small_page_prefix_bytes_, prefix_bytes - small_page_prefix_bytes_,
                MADV_NOHUGEPAGE) != 0) {
    return system_error("cannot keep huge pages out of low guest memory");
  }
  small_page_prefix_bytes_ = prefix_bytes;
  return {};
}

} // namespace vmm
