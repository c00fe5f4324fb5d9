// SPDX-License-Identifier: MIT
#include "vmm/program_signals.hpp"

#include <atomic>
#include <cassert>

namespace vmm {

bool ProgramSignals::pass(int signal, std::uint64_t now_ns) {
  assert(signal >= 1 && signal <= 64);
  const std::uint64_t bit = std::uint64_t{1} << (signal - 1);
  if ((std::atomic_ref(page_.signals_handled).load(std::memory_order_relaxed) & bit) == 0) {
    return false;
  }
  std::uint64_t& passed_ns = passed_ns_.at(static_cast<std::size_t>(signal));
  const bool waits =
      (std::atomic_ref(page_.signals_sent).fetch_or(bit, std::memory_order_release) & bit) != 0;
  if (waits && now_ns - passed_ns >= patience_ns) {
    return false;
  }
  passed_ns = waits ? passed_ns : now_ns;
  wake_();
  return true;
}

} // namespace vmm
