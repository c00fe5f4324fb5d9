// SPDX-License-Identifier: MIT
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/process.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t known_protection = PROT_READ | PROT_WRITE | PROT_EXEC;

Answer answer_of(const Or<std::uint64_t>& address) {
  return address ? static_cast<Answer>(*address) : -Answer{address.error()};
}

bool is_page_aligned(std::uint64_t address) {
  return address % abi::page_bytes == 0;
}

} // namespace

// Files are copied: a private mapping is as good as its own memory. A shared one is allowed as long
// as nobody can write to it, which makes it the same as a private one.
Answer Process::sys_mmap(const Args& args) {
  const auto [address, bytes, protection, flags, descriptor, offset] = args;
  const std::uint64_t type = flags & MAP_TYPE;
  if (bytes == 0 || !is_page_aligned(offset) ||
      (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)) {
    return -EINVAL;
  }
  OpenFile* file = nullptr;
  if ((flags & MAP_ANONYMOUS) == 0) {
    file = file_at(descriptor);
    if (file == nullptr) {
      return -EBADF;
    }
    if (!file->file->is_mappable()) {
      return -ENODEV;
    }
    const bool writes = type != MAP_PRIVATE && (protection & PROT_WRITE) != 0;
    if (!file->may_read() || (writes && !file->may_write())) {
      return -EACCES;
    }
    if (writes) {
      return -ENODEV; // what is written to a copy would be lost
    }
  }
  const auto rights = static_cast<Protection>(protection & known_protection);
  const bool exactly = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
  if (exactly && !is_page_aligned(address)) {
    return -EINVAL;
  }
  if (exactly) {
    sites_.restore(address, address + bytes);
  }
  Or<std::uint64_t> place = std::unexpected(ENOMEM);
  if ((flags & MAP_FIXED_NOREPLACE) != 0) {
    place = memory_.map_free(address, bytes, rights);
  } else if ((flags & MAP_FIXED) != 0) {
    place = memory_.map_at(address, bytes, rights);
  } else {
    place = memory_.map(bytes, rights);
  }
  if (!place || file == nullptr) {
    return answer_of(place);
  }
  // Behind the end of the file it stays zero.
  auto* const to = reinterpret_cast<std::byte*>(*place); // NOLINT(performance-no-int-to-ptr)
  if (const Or<std::uint64_t> got = file->file->read(offset, {to, bytes}); !got) {
    static_cast<void>(memory_.unmap(*place, bytes));
    return -Answer{got.error()};
  }
  return answer_of(place);
}

Answer Process::sys_munmap(const Args& args) {
  sites_.restore(args[0], args[0] + args[1]);
  return -Answer{memory_.unmap(args[0], args[1])};
}

Answer Process::sys_mprotect(const Args& args) {
  if ((args[2] & ~(known_protection | PROT_GROWSDOWN | PROT_GROWSUP)) != 0) {
    return -EINVAL;
  }
  return -Answer{
      memory_.protect(args[0], args[1], static_cast<Protection>(args[2] & known_protection))};
}

Answer Process::sys_mremap(const Args& args) {
  const auto [address, bytes, new_bytes, flags, new_address, unused] = args;
  if ((flags & ~std::uint64_t{MREMAP_MAYMOVE}) != 0) {
    return -EINVAL; // to a certain address: not supported
  }
  sites_.restore(address, address + bytes);
  return answer_of(memory_.remap(address, bytes, new_bytes,
                                 (flags & MREMAP_MAYMOVE) != 0 ? AddressSpace::Move::yes
                                                               : AddressSpace::Move::no));
}

Answer Process::sys_madvise(const Args& args) {
  const auto [address, bytes, advice, unused3, unused4, unused5] = args;
  if (!is_page_aligned(address)) {
    return -EINVAL;
  }
  switch (advice) {
  case MADV_DONTNEED:
    sites_.restore(address, address + bytes);
    return bytes == 0 ? 0 : -Answer{memory_.discard(address, bytes)};
  case MADV_NORMAL:
  case MADV_RANDOM:
  case MADV_SEQUENTIAL:
  case MADV_WILLNEED:
  case MADV_FREE: // may happen at any time, and so never
  case MADV_HUGEPAGE:
  case MADV_NOHUGEPAGE:
  case MADV_DONTDUMP:
  case MADV_DODUMP:
  case MADV_DONTFORK:
  case MADV_DOFORK:
  case MADV_COLD:
    return memory_.allows(address, bytes, 0) ? 0 : -ENOMEM;
  default:
    return -EINVAL;
  }
}

Answer Process::sys_brk(const Args& args) {
  return static_cast<Answer>(memory_.move_break(args[0]));
}

} // namespace guest::linux
