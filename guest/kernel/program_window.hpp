// SPDX-License-Identifier: MIT
// Addresses below RAM that each Linux program has for itself: where those lie that are linked to
// fixed addresses. The frames there are nobody's, and cost the host nothing.
#pragma once

#include <algorithm>
#include <cstdint>

#include "shared/address.hpp"
#include "shared/boot_info.hpp"

namespace guest {

struct ProgramWindow {
  std::uint64_t start = 0; // 2 MiB aligned
  std::uint64_t end = 0;
};

// Empty where no program is run.
[[nodiscard]] inline ProgramWindow program_window(const abi::BootInfo& boot) {
  constexpr std::uint64_t usual_end = std::uint64_t{96} << 20; // node's image ends at 87 MiB
  constexpr std::uint64_t part_of_ram = 8;                     // at most
  if (!abi::knows_1_2(boot) || boot.program_gpa == 0) {
    return {};
  }
  const std::uint64_t start = abi::align_up(boot.free_start_gpa, abi::huge_page_bytes);
  const std::uint64_t end = std::min(
      usual_end, start + abi::align_down(boot.ram_bytes / part_of_ram, abi::huge_page_bytes));
  return end > start ? ProgramWindow{start, end} : ProgramWindow{};
}

} // namespace guest
