// SPDX-License-Identifier: MIT
// Guest memory by guest-virtual address: what a debugger reads and writes. Page tables are the
// guest's and may hold anything. Copies go through the kernel, so that memory which the host cannot
// provide at that moment is an error, not a signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

// Memory outside RAM that the guest may read.
struct ReadOnlyArea {
  abi::Gpa start;
  std::span<const std::byte> bytes;
};

class GuestView {
 public:
  // Environment error where the kernel refuses the calls that copy, as some containers make it do:
  // all memory would look as if it were not there. `who` wants to look ("gdb").
  [[nodiscard]] static Result<void> check_access(const char* who);

  // `memory` and what `area` shows outlive the view. RAM from `plugged_end()` on is not there yet.
  GuestView(const GuestMemory& memory, std::function<abi::Gpa()> plugged_end, ReadOnlyArea area)
      : memory_(memory), plugged_end_(std::move(plugged_end)), area_(area) {}

  // Where the page tables at `cr3` put an address; empty when it is not mapped. Rights do not
  // matter: a debugger may look at what only ring 0 may.
  [[nodiscard]] std::optional<abi::Gpa> translate(std::uint64_t cr3, std::uint64_t address) const;

  // Copies from `address` on as far as there is memory; returns how many bytes that was.
  [[nodiscard]] std::size_t read(std::uint64_t cr3, std::uint64_t address,
                                 std::span<std::byte> to) const;
  // All or nothing as far as mappings go; false when not all of it could be written.
  [[nodiscard]] bool write(std::uint64_t cr3, std::uint64_t address,
                           std::span<const std::byte> from) const;

  // The same for guest-physical addresses.
  [[nodiscard]] bool read_physical(abi::Gpa gpa, std::span<std::byte> to) const;
  [[nodiscard]] bool write_physical(abi::Gpa gpa, std::span<const std::byte> from) const;

 private:
  // Host view of memory that is there; empty unless all of it is.
  [[nodiscard]] std::span<std::byte> plugged(abi::Gpa gpa, std::uint64_t bytes) const;

  const GuestMemory& memory_;
  const std::function<abi::Gpa()> plugged_end_;
  const ReadOnlyArea area_;
};

} // namespace vmm
