// SPDX-License-Identifier: MIT
#include "guest/linux/process/program_code.hpp"

#include <sys/mman.h>

namespace guest::linux {

bool ProgramCode::claim_page(std::uint64_t address) {
  return memory_.map_free(address, abi::page_bytes, PROT_READ | PROT_EXEC).has_value();
}

void ProgramCode::release_page(std::uint64_t address) {
  static_cast<void>(memory_.unmap(address, abi::page_bytes));
}

void ProgramCode::write(std::uint64_t address, std::span<const std::uint8_t> code) {
  memory_.write(address, std::as_bytes(code));
}

} // namespace guest::linux
