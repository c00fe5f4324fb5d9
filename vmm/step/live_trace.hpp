// SPDX-License-Identifier: MIT
// The trace of a running guest as a stepper reads it: what is recorded up to a moment, at which it
// holds still until the next one is asked for.
#pragma once

#include "vmm/record/trace_writer.hpp"
#include "vmm/trace/trace_source.hpp"

namespace vmm {

// For one thread at a time; others go on recording.
class LiveTrace final : public hvtrace::TraceSource {
 public:
  // `writer` writes a growing file and outlives the source.
  explicit LiveTrace(const TraceWriter& writer) : writer_(writer) {}

  // Takes in what is recorded by now. Records that others have claimed but not written yet end it
  // early, if they stay so for long.
  void refresh();

  [[nodiscard]] const abi::TraceHeader& header() const override { return writer_.header(); }
  [[nodiscard]] std::uint64_t first() const override { return 1; }
  [[nodiscard]] std::uint64_t end() const override { return end_; }
  [[nodiscard]] std::optional<abi::TraceRecord> at(std::uint64_t number) const override {
    return number < end_ ? writer_.read(number) : std::nullopt;
  }
  [[nodiscard]] bool finished() const override { return false; }

 private:
  const TraceWriter& writer_;
  std::uint64_t end_ = 1;
};

} // namespace vmm
