// SPDX-License-Identifier: MIT
// Where records come from: a file, or, for a stepper beside a running guest, something live. What
// reads a trace (model, stepper, list, ...) knows only this.
#pragma once

#include <cstdint>
#include <optional>

#include "shared/trace_record.hpp"

namespace hvtrace {

class TraceSource {
 public:
  virtual ~TraceSource() = default;

  [[nodiscard]] virtual const abi::TraceHeader& header() const = 0;
  // Records have consecutive numbers, [first, end), which are their sequences. The first is 1
  // unless a ring has dropped what was before.
  [[nodiscard]] virtual std::uint64_t first() const = 0;
  [[nodiscard]] virtual std::uint64_t end() const = 0;
  // Empty when the record is damaged or was never completed.
  [[nodiscard]] virtual std::optional<abi::TraceRecord> at(std::uint64_t number) const = 0;
  // Whether the writer closed it in order: nothing is missing at the end.
  [[nodiscard]] virtual bool finished() const = 0;
  // Records that were there once and that the file is now too short for.
  [[nodiscard]] virtual std::uint64_t cut_off() const { return 0; }
};

} // namespace hvtrace
