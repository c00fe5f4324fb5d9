// SPDX-License-Identifier: MIT
#include "vmm/memory/huge_pages.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "shared/address.hpp"

namespace vmm {

bool kernel_has_huge_pages() {
  void* const page = ::mmap(nullptr, abi::page_bytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (page == MAP_FAILED) {
    return true; // who makes guest memory will tell
  }
  const bool refused = ::madvise(page, abi::page_bytes, MADV_HUGEPAGE) != 0 && errno == EINVAL;
  ::munmap(page, abi::page_bytes);
  return !refused;
}

Backing backing_here(Backing wanted) {
  return wanted == Backing::thp && !kernel_has_huge_pages() ? Backing::small_pages : wanted;
}

} // namespace vmm
