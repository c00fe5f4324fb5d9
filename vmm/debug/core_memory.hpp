// SPDX-License-Identifier: MIT
// What of a guest's virtual memory there is, by its page tables, which may hold anything: the
// memory of a core file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shared/address.hpp"
#include "vmm/debug/guest_view.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

// Pages that follow each other in virtual and in physical memory. Page aligned.
struct MappedPiece {
  std::uint64_t address = 0; // guest-virtual
  abi::Gpa gpa;
  std::uint64_t bytes = 0;
};

// Pieces that follow each other in virtual memory and have the same rights.
struct MappedArea {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  bool writable = false;
  bool executable = false;
  std::vector<MappedPiece> pieces;
};

struct MappedMemory {
  std::vector<MappedArea> areas; // by address
  // There is more, beyond what sensible page tables have.
  bool cut_short = false;

  // Bounds for tables that map the same memory again and again.
  static constexpr std::size_t most_pieces = std::size_t{1} << 20;
  static constexpr std::size_t most_areas = 60'000; // ELF counts its headers by 16 bits
};

// By the tables at `cr3`, while no vCPU runs. Only what `memory` or `input` has; its address is
// that of the lower half as well as of the upper one.
[[nodiscard]] MappedMemory mapped_memory(const GuestMemory& memory, const ReadOnlyArea& input,
                                         std::uint64_t cr3);

// The host's view of guest-physical memory; empty unless all of it is there.
[[nodiscard]] std::span<const std::byte>
host_view(const GuestMemory& memory, const ReadOnlyArea& input, abi::Gpa gpa, std::uint64_t bytes);

} // namespace vmm
