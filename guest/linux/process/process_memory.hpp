// SPDX-License-Identifier: MIT
// What a process has of the address space, and which of its calls have become jumps there. A
// process that vfork makes is in its parent's until it runs another program.
#pragma once

#include <cstdint>

#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/process/program_code.hpp"
#include "guest/linux/sites/site_patcher.hpp"

namespace guest::linux {

class ProcessMemory {
 public:
  // `number` is that of no other. `space` outlives this.
  ProcessMemory(AddressSpace& space, const SitePatcher::Enter& enter, std::uint32_t number)
      : occupant{.number = number}, space_(space), code_(space), sites(code_, enter) {
    space_.add(occupant);
  }
  // For a copy of what the process whose thread runs has in `other`, with fork() of the space.
  ProcessMemory(AddressSpace& space, const ProcessMemory& other, std::uint32_t number)
      : occupant{.number = number}, space_(space), code_(space), sites(code_, other.sites),
        stack_start(other.stack_start) {
    space_.add(occupant);
  }
  ProcessMemory(const ProcessMemory&) = delete;
  ProcessMemory& operator=(const ProcessMemory&) = delete;
  // The one who runs is in another then.
  ~ProcessMemory() { space_.remove(occupant, space_.occupant()); }

  Occupant occupant;

 private:
  AddressSpace& space_;
  ProgramCode code_;

 public:
  SitePatcher sites;
  std::uint64_t stack_start = 0; // the lowest address of its stack
};

} // namespace guest::linux
