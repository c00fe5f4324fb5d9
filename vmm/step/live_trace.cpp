// SPDX-License-Identifier: MIT
#include "vmm/step/live_trace.hpp"

#include <thread>

namespace vmm {
namespace {

// A writer needs some nanoseconds from claim to record, unless it is preempted there. A record that
// was lost for want of space never comes.
constexpr unsigned max_yields = 10'000;

} // namespace

void LiveTrace::refresh() {
  const std::uint64_t claimed = writer_.records();
  for (unsigned yields = 0; end_ <= claimed;) {
    if (writer_.read(end_)) {
      ++end_;
    } else if (++yields > max_yields) {
      return;
    } else {
      std::this_thread::yield();
    }
  }
}

} // namespace vmm
