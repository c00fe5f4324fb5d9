// SPDX-License-Identifier: MIT
// The program's addresses: what it maps, and what it does with that.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t known_protection = PROT_READ | PROT_WRITE | PROT_EXEC;
constexpr std::uint64_t known_flags = MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE |
                                      MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE |
                                      MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB |
                                      MAP_32BIT | 0x4000000; // MAP_UNINITIALIZED
// Nobody maps below it (vm.mmap_min_addr), so that null faults.
constexpr std::uint64_t lowest_address = 65536;
// Not in every C library's headers.
constexpr std::uint64_t advice_populate_read = 22;
constexpr std::uint64_t advice_populate_write = 23;

bool is_page_aligned(std::uint64_t address) {
  return address % abi::page_bytes == 0;
}

// The same for the file that is to be mapped.
int check_mapped_file(const OpenFile& file, std::uint64_t protection, std::uint64_t flags) {
  const std::uint64_t type = flags & MAP_TYPE;
  if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE) {
    return EINVAL;
  }
  if (type == MAP_SHARED_VALIDATE && (flags & ~known_flags) != 0) {
    return EOPNOTSUPP;
  }
  const bool writes = type != MAP_PRIVATE && (protection & PROT_WRITE) != 0;
  if ((writes && !file.may_write()) || !file.may_read()) {
    return EACCES;
  }
  constexpr std::uint32_t unchangeable = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
  if (writes && (file.file->seals().value_or(0) & unchangeable) != 0) {
    return EPERM;
  }
  return file.file->is_mappable() && (!writes || file.file->shared_pages() != nullptr) ? 0 : ENODEV;
}

} // namespace

// What Linux says of a mapping before it looks at what is mapped, in its order (do_mmap); 0:
// nothing.
int ProgramCalls::check_mapping(const Args& args) const {
  const auto [address, bytes, protection, flags, descriptor, offset] = args;
  if (bytes == 0) {
    return EINVAL;
  }
  const std::uint64_t whole = abi::align_up(bytes, abi::page_bytes);
  if (whole == 0) {
    return ENOMEM;
  }
  if (offset > ~whole + 1) {
    return EOVERFLOW;
  }
  if (whole > highest_address) {
    return ENOMEM;
  }
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
    if (address > highest_address - whole) {
      return ENOMEM;
    }
    if (!is_page_aligned(address)) {
      return EINVAL;
    }
    if (address < lowest_address) {
      return EPERM;
    }
  }
  if ((flags & MAP_FIXED_NOREPLACE) != 0 && memory_.has_any(address, whole)) {
    return EEXIST;
  }
  return 0;
}

// Of a file that nobody can name.
Or<Content> ProgramCalls::shared_memory(std::uint64_t bytes) {
  const Or<File*> made = shared_.create_sealable(0600, F_SEAL_SEAL);
  if (!made) {
    return std::unexpected(made.error());
  }
  std::shared_ptr<File> file(*made);
  if (const int error = file->truncate(abi::align_up(bytes, abi::page_bytes)); error != 0) {
    return std::unexpected(error);
  }
  return mapped_.add(std::move(file), 0, Content::Sharing::shared);
}

Answer ProgramCalls::sys_mmap(const Args& args) {
  const auto [address, bytes, protection, flags, descriptor, offset] = args;
  if (!is_page_aligned(offset)) {
    return -EINVAL;
  }
  OpenFile* file = nullptr;
  if ((flags & MAP_ANONYMOUS) == 0) {
    file = file_at(descriptor);
    if (file == nullptr) {
      return -EBADF;
    }
  } else if ((flags & MAP_HUGETLB) != 0) {
    return -ENOMEM; // there are none
  }
  if (const int error = check_mapping(args); error != 0) {
    return -Answer{error};
  }
  const std::uint64_t type = flags & MAP_TYPE;
  if (file != nullptr) {
    if (const int error = check_mapped_file(*file, protection, flags); error != 0) {
      return -Answer{error};
    }
  } else if (type != MAP_PRIVATE && type != MAP_SHARED) {
    return -EINVAL;
  }
  const auto rights = static_cast<Protection>(protection & known_protection);
  Commitment commitment = Commitment::normal;
  if ((flags & MAP_NORESERVE) != 0 || file != nullptr) {
    commitment = Commitment::none;
  } else if ((flags & (MAP_POPULATE | MAP_LOCKED)) != 0) {
    commitment = Commitment::at_once;
  }
  const bool exactly = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
  if (exactly && commitment != Commitment::none && (rights & PROT_WRITE) != 0 &&
      !memory_.could_hold(bytes)) {
    return -ENOMEM;
  }
  if (exactly) {
    self().memory->sites.restore(address, address + bytes);
  }
  // What only this program changes by other means is copied as good as shared.
  const bool is_shared = file != nullptr && type != MAP_PRIVATE && file->may_write() &&
                         file->file->shared_pages() != nullptr &&
                         (file->file->seals().value_or(0) & F_SEAL_WRITE) == 0;
  Content content = file != nullptr
                        ? mapped_.add(file->file, offset,
                                      is_shared             ? Content::Sharing::shared
                                      : type == MAP_PRIVATE ? Content::Sharing::copied
                                                            : Content::Sharing::read_only)
                        : Content{.is_sparse = (flags & MAP_STACK) != 0};
  if (file == nullptr && type == MAP_SHARED) {
    const Or<Content> shared = shared_memory(bytes); // processes that are forked share it
    if (!shared) {
      return -Answer{shared.error()};
    }
    content = *shared;
  }
  const Or<std::uint64_t> place =
      exactly ? memory_.map_at(address, bytes, rights, content)
              : memory_.map(bytes, rights, commitment, abi::align_down(address, abi::page_bytes),
                            content);
  if (!place) {
    memory_.forget_unless_shown(content);
    return answer_of(place);
  }
  if (file != nullptr) {
    if ((rights & PROT_EXEC) != 0 && (start_.watched & abi::watched_by_profile) != 0) {
      file->file->tell_code(*place, offset, bytes);
    }
    // Only so that it need not fault: what cannot be had now is asked for again.
    if (rights != protection_none &&
        (bytes <= file_at_once_bytes || (flags & (MAP_POPULATE | MAP_LOCKED)) != 0 ||
         (start_.watched & abi::watched_by_debugger) != 0)) {
      static_cast<void>(memory_.populate(*place, bytes));
    }
  } else if (commitment == Commitment::at_once && rights != protection_none) {
    if (const int error = memory_.populate(*place, bytes); error != 0) {
      static_cast<void>(memory_.unmap(*place, bytes));
      return -Answer{error};
    }
  }
  return answer_of(place);
}

Answer ProgramCalls::sys_munmap(const Args& args) {
  self().memory->sites.restore(args[0], args[0] + args[1]);
  return -Answer{memory_.unmap(args[0], args[1])};
}

Answer ProgramCalls::sys_mprotect(const Args& args) {
  constexpr std::uint64_t growing = PROT_GROWSDOWN | PROT_GROWSUP;
  const auto [address, bytes, protection, unused3, unused4, unused5] = args;
  if ((protection & growing) == growing || !is_page_aligned(address)) {
    return -EINVAL;
  }
  if (bytes == 0) {
    return 0;
  }
  if ((protection & ~(known_protection | growing)) != 0) {
    return -EINVAL;
  }
  if ((protection & known_protection) == 0) {
    self().memory->sites.restore(address, address + bytes); // nobody can look there any more
  }
  return -Answer{
      memory_.protect(address, bytes, static_cast<Protection>(protection & known_protection))};
}

Answer ProgramCalls::sys_mremap(const Args& args) {
  const auto [address, bytes, new_bytes, flags, new_address, unused] = args;
  constexpr std::uint64_t known = MREMAP_MAYMOVE | MREMAP_FIXED;
  const bool fixed = (flags & MREMAP_FIXED) != 0;
  if ((flags & ~known) != 0 || (fixed && (flags & MREMAP_MAYMOVE) == 0)) {
    return -EINVAL;
  }
  if (fixed && new_address < lowest_address) {
    return is_page_aligned(new_address) ? -EPERM : -EINVAL;
  }
  self().memory->sites.restore(address, address + bytes);
  if (fixed) {
    self().memory->sites.restore(new_address, new_address + new_bytes);
  }
  return answer_of(memory_.remap(address, bytes, new_bytes,
                                 (flags & MREMAP_MAYMOVE) != 0 ? AddressSpace::Move::yes
                                                               : AddressSpace::Move::no,
                                 fixed ? std::optional(new_address) : std::nullopt));
}

Answer ProgramCalls::sys_madvise(const Args& args) {
  const auto [address, bytes, advice, unused3, unused4, unused5] = args;
  constexpr std::array<std::uint64_t, 19> known{
      MADV_NORMAL,          MADV_RANDOM,   MADV_SEQUENTIAL,
      MADV_WILLNEED,        MADV_DONTNEED, MADV_FREE,
      MADV_DONTFORK,        MADV_DOFORK,   MADV_MERGEABLE,
      MADV_UNMERGEABLE,     MADV_HUGEPAGE, MADV_NOHUGEPAGE,
      MADV_DONTDUMP,        MADV_DODUMP,   MADV_WIPEONFORK,
      MADV_KEEPONFORK,      MADV_COLD,     advice_populate_read,
      advice_populate_write};
  if (std::ranges::find(known, advice) == known.end() || !is_page_aligned(address)) {
    return -EINVAL;
  }
  if (bytes > highest_address || address > highest_address) {
    return bytes > ~abi::page_bytes + 1 || address + bytes < address ? -EINVAL : -ENOMEM;
  }
  if (bytes == 0) {
    return 0;
  }
  switch (advice) {
  case MADV_DONTNEED:
  case MADV_FREE: // at once is a time like any other
    self().memory->sites.restore(address, address + bytes);
    return -Answer{memory_.discard(address, bytes)};
  case advice_populate_read:
  case advice_populate_write: {
    const Protection rights = advice == advice_populate_write ? PROT_WRITE : PROT_READ;
    const std::uint64_t whole = abi::align_up(bytes, abi::page_bytes);
    if (memory_.allows(address, whole, 0) && !memory_.allows(address, whole, rights)) {
      return -EINVAL;
    }
    return -Answer{memory_.populate(address, bytes)};
  }
  default: // advice alone
    return memory_.allows(address, bytes, 0) ? 0 : -ENOMEM;
  }
}

Answer ProgramCalls::sys_mincore(const Args& args) {
  const auto [address, bytes, vector, unused3, unused4, unused5] = args;
  if (!is_page_aligned(address)) {
    return -EINVAL;
  }
  if (address > highest_address || bytes > highest_address - address) {
    return -ENOMEM;
  }
  const std::uint64_t pages = abi::align_up(bytes, abi::page_bytes) / abi::page_bytes;
  for (std::uint64_t page = 0; page < pages; ++page) {
    const std::uint64_t at = address + page * abi::page_bytes;
    if (!memory_.allows(at, abi::page_bytes, 0)) {
      return -ENOMEM;
    }
    if (!user_.store(vector + page, static_cast<std::uint8_t>(memory_.is_resident(at) ? 1 : 0))) {
      return -EFAULT;
    }
  }
  return 0;
}

Answer ProgramCalls::sys_msync(const Args& args) {
  const auto [address, bytes, flags, unused3, unused4, unused5] = args;
  constexpr std::uint64_t both = MS_ASYNC | MS_SYNC;
  if ((flags & ~(both | MS_INVALIDATE)) != 0 || (flags & both) == both ||
      !is_page_aligned(address)) {
    return -EINVAL;
  }
  if (!memory_.allows(address, bytes, 0)) {
    return -ENOMEM;
  }
  int error = 0;
  if ((flags & MS_SYNC) != 0) {
    memory_.visit_shared(address, bytes, [&](const Content& content) {
      const int one = mapped_.sync(content);
      error = error != 0 ? error : one;
    });
  }
  return -Answer{error};
}

// From the page that the address lies in.
Answer ProgramCalls::sys_mlock(const Args& args) {
  const std::uint64_t start = abi::align_down(args[0], abi::page_bytes);
  const std::uint64_t bytes = args[1] + (args[0] - start);
  if (bytes == 0) {
    return 0;
  }
  return memory_.allows(start, bytes, 0) ? -Answer{memory_.populate(start, bytes)} : -ENOMEM;
}

Answer ProgramCalls::sys_munlock(const Args& args) {
  const std::uint64_t start = abi::align_down(args[0], abi::page_bytes);
  return memory_.allows(start, args[1] + (args[0] - start), 0) ? 0 : -ENOMEM;
}

Answer ProgramCalls::sys_mlock2(const Args& args) {
  constexpr std::uint64_t on_fault = 1; // MLOCK_ONFAULT
  if ((args[2] & ~on_fault) != 0) {
    return -EINVAL;
  }
  return args[2] == on_fault ? sys_munlock(args) : sys_mlock(args); // nothing to be done now
}

// Nothing is ever swapped, now or later.
Answer ProgramCalls::sys_mlockall(const Args& args) {
  constexpr std::uint64_t on_fault = 4; // MCL_ONFAULT
  constexpr std::uint64_t known = std::uint64_t{MCL_CURRENT} | MCL_FUTURE | on_fault;
  return args[0] == 0 || (args[0] & ~known) != 0 || args[0] == on_fault ? -EINVAL : 0;
}

Answer ProgramCalls::sys_brk(const Args& args) {
  return static_cast<Answer>(memory_.move_break(args[0]));
}

} // namespace guest::linux
