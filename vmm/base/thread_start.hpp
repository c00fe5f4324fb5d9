// SPDX-License-Identifier: MIT
#pragma once

#include <functional>

namespace vmm {

// What a component's thread does before anything else, handed in by whoever owns the component.
// Empty: nothing.
using ThreadStart = std::function<void()>;

inline void begin_thread(const ThreadStart& on_start) {
  if (on_start) {
    on_start();
  }
}

} // namespace vmm
