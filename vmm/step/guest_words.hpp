// SPDX-License-Identifier: MIT
// Guest memory as the words that a debugger shows.
#pragma once

#include <cstdint>
#include <string>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

inline constexpr std::uint64_t max_words_shown = 128;

// `count` (1...max_words_shown) 8-byte words from `gpa` on, two a line, with the symbol of those
// that are code addresses. Reading makes nothing resident. User error when it is not all RAM.
Result<std::string> words_at(const GuestMemory& memory, const Symbols& symbols, abi::Gpa gpa,
                             std::uint64_t count);

} // namespace vmm
