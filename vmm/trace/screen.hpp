// SPDX-License-Identifier: MIT
// A stepper's position as text: the records around it, and the state at that moment.
#pragma once

#include <cstddef>
#include <string>

#include "vmm/trace/event_text.hpp"
#include "vmm/trace/stepper.hpp"

namespace hvtrace {

struct ScreenSize {
  std::size_t columns = 100;
  std::size_t rows = 30;
};

// The same for the same position and size, whatever way led there. No line is longer than
// `columns`, there are at most `rows` lines (but not fewer than it takes).
[[nodiscard]] std::string render_screen(const Stepper& stepper, const EventText& text,
                                        ScreenSize size);

} // namespace hvtrace
