// SPDX-License-Identifier: MIT
// The target description: which registers there are, how gdb calls them, and how they travel.
// DebugRegisters field by field, in order, little endian.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/debug/debug_target.hpp"

namespace vmm {

// target.xml, and nothing else, is to be had by qXfer:features:read.
[[nodiscard]] const std::string& gdb_target_xml();

// How many registers there are; their numbers start at 0.
[[nodiscard]] std::size_t gdb_register_count();

// All registers, as in the answer to `g`.
[[nodiscard]] std::vector<std::byte> gdb_encode(const DebugRegisters& registers);
// From the data of `G`; empty when it has not that length.
[[nodiscard]] std::optional<DebugRegisters> gdb_decode(std::span<const std::byte> data);

// One register; empty or false when there is none of that number or length.
[[nodiscard]] std::span<const std::byte> gdb_register(const DebugRegisters& registers,
                                                      std::size_t number);
[[nodiscard]] bool gdb_set_register(DebugRegisters& registers, std::size_t number,
                                    std::span<const std::byte> data);

} // namespace vmm
