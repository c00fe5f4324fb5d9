// SPDX-License-Identifier: MIT
#include "vmm/debug/guest_view.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "shared/page_table_entry.hpp"

namespace vmm {

namespace {

constexpr unsigned top_level_shift = 39;
constexpr unsigned bits_per_level = 9;
// Levels whose entries can map a page themselves: 1 GiB and 2 MiB.
constexpr unsigned largest_page_shift = 30;

bool is_canonical(std::uint64_t address) {
  const std::uint64_t top = address >> 47;
  return top == 0 || top == 0x1ffff;
}

// Both go through the kernel: EFAULT instead of a signal.
bool copy_out(const std::byte* host, std::span<std::byte> to) {
  const iovec local{to.data(), to.size()};
  // Justified: the call only reads through it.
  const iovec remote{const_cast<std::byte*>(host), to.size()}; // NOLINT(*-const-cast)
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) ==
         static_cast<ssize_t>(to.size());
}

bool copy_in(std::byte* host, std::span<const std::byte> from) {
  // Justified: the call only reads through it.
  const iovec local{const_cast<std::byte*>(from.data()), from.size()}; // NOLINT(*-const-cast)
  const iovec remote{host, from.size()};
  return ::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0) ==
         static_cast<ssize_t>(from.size());
}

// Bytes from `address` to the end of its 4 KiB page, at most `bytes`.
std::size_t within_page(std::uint64_t address, std::size_t bytes) {
  return std::min<std::uint64_t>(bytes, abi::page_bytes - address % abi::page_bytes);
}

} // namespace

Result<void> GuestView::check_access(const char* who) {
  const std::byte from{1};
  std::byte to{};
  const bool done = copy_out(&from, std::span(&to, 1)) && copy_in(&to, std::span(&from, 1));
  return done ? Result<void>()
              : system_error("{} cannot look at guest memory, because process_vm_readv or "
                             "process_vm_writev is refused even for this process's own; let the "
                             "container have them (for Docker: --cap-add SYS_PTRACE)",
                             who);
}

bool GuestView::read_physical(abi::Gpa gpa, std::span<std::byte> to) const {
  if (gpa >= area_.start && gpa - area_.start <= area_.bytes.size() &&
      to.size() <= area_.bytes.size() - (gpa - area_.start)) {
    return copy_out(area_.bytes.data() + (gpa - area_.start), to);
  }
  const std::span<std::byte> host = plugged(gpa, to.size());
  return !host.empty() && copy_out(host.data(), to);
}

bool GuestView::write_physical(abi::Gpa gpa, std::span<const std::byte> from) const {
  const std::span<std::byte> host = plugged(gpa, from.size());
  return !host.empty() && copy_in(host.data(), from);
}

std::span<std::byte> GuestView::plugged(abi::Gpa gpa, std::uint64_t bytes) const {
  return memory_.in_own_area(gpa) || gpa + bytes <= plugged_end_() ? memory_.at(gpa, bytes)
                                                                   : std::span<std::byte>{};
}

std::optional<abi::Gpa> GuestView::translate(std::uint64_t cr3, std::uint64_t address) const {
  if (!is_canonical(address)) {
    return std::nullopt;
  }
  std::uint64_t table = cr3 & abi::page_entry::address_mask;
  for (unsigned shift = top_level_shift;; shift -= bits_per_level) {
    const std::uint64_t index = (address >> shift) % (std::uint64_t{1} << bits_per_level);
    std::uint64_t entry = 0;
    if (!read_physical({table + index * sizeof entry},
                       std::as_writable_bytes(std::span(&entry, 1))) ||
        (entry & abi::page_entry::present) == 0) {
      return std::nullopt;
    }
    const bool is_page = shift == abi::page_shift ||
                         (shift <= largest_page_shift && (entry & abi::page_entry::large) != 0);
    if (is_page) {
      const std::uint64_t page = std::uint64_t{1} << shift;
      return abi::Gpa{abi::align_down(entry & abi::page_entry::address_mask, page) |
                      (address % page)};
    }
    table = entry & abi::page_entry::address_mask;
  }
}

std::size_t GuestView::read(std::uint64_t cr3, std::uint64_t address,
                            std::span<std::byte> to) const {
  std::size_t done = 0;
  while (done < to.size()) {
    const std::size_t bytes = within_page(address + done, to.size() - done);
    const auto gpa = translate(cr3, address + done);
    if (!gpa || !read_physical(*gpa, to.subspan(done, bytes))) {
      break;
    }
    done += bytes;
  }
  return done;
}

bool GuestView::write(std::uint64_t cr3, std::uint64_t address,
                      std::span<const std::byte> from) const {
  // Nothing is written if a part of it cannot be.
  for (std::size_t done = 0; done < from.size();
       done += within_page(address + done, from.size() - done)) {
    const std::size_t bytes = within_page(address + done, from.size() - done);
    const auto gpa = translate(cr3, address + done);
    if (!gpa || plugged(*gpa, bytes).empty()) {
      return false;
    }
  }
  for (std::size_t done = 0; done < from.size();) {
    const std::size_t bytes = within_page(address + done, from.size() - done);
    const auto gpa = translate(cr3, address + done);
    if (!gpa || !write_physical(*gpa, from.subspan(done, bytes))) {
      return false;
    }
    done += bytes;
  }
  return true;
}

} // namespace vmm
