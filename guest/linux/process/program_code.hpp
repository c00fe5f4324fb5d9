// SPDX-License-Identifier: MIT
// A program's memory as the patcher of call sites sees it.
#pragma once

#include <cstdint>
#include <span>

#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/sites/site_patcher.hpp"

namespace guest::linux {

// Pages of a program's address space for its code.
class ProgramCode final : public CodePages {
 public:
  explicit ProgramCode(AddressSpace& memory) : memory_(memory) {}
  [[nodiscard]] bool claim_page(std::uint64_t address) override;
  void release_page(std::uint64_t address) override;
  void write(std::uint64_t address, std::span<const std::uint8_t> code) override;

 private:
  AddressSpace& memory_;
};

} // namespace guest::linux
