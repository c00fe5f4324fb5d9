// SPDX-License-Identifier: MIT
// Recorded hints through the real validator, coalescer and discard engine, over fresh memory and
// without KVM: the host side, to measure and debug anywhere.
#pragma once

#include <cstdint>
#include <string>

#include "tools/hvtrace/stats.hpp"
#include "vmm/base/result.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

struct ReplayOptions {
  std::string backing{}; // names as on the vmm's command line; empty: as recorded
  std::string discard{};
  std::string speed = "max"; // or "real"
  bool no_touch = false;     // do not make hinted memory resident before it is discarded
};

struct ReplayResult {
  std::uint64_t batches = 0, ranges = 0;
  std::uint64_t asked_bytes = 0, discarded_bytes = 0, calls = 0;
  std::uint64_t host_ns = 0;
  std::uint64_t other_outcomes = 0; // ranges answered otherwise than when recorded
  Distribution batch_ns;
  // With speed "real": how far behind its recorded time a batch began at most. Else empty.
  std::optional<std::uint64_t> behind_ns{};
};

// User error when the trace has no ranges or an option no meaning.
[[nodiscard]] vmm::Result<ReplayResult> replay(const TraceSource& source,
                                               const ReplayOptions& options);
[[nodiscard]] std::string render_replay(const ReplayResult& result);

} // namespace hvtrace
