// SPDX-License-Identifier: MIT
// Whether hints are held against what the guest itself says of its frames.
#pragma once

#include <cstdint>

namespace vmm {

enum class HintCheck : std::uint8_t {
  off,
  audit, // debug: a hint that the guest's own frame tags contradict ends the guest as crashed
};

} // namespace vmm
