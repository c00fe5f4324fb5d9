// SPDX-License-Identifier: MIT
// Traces of one run that were rotated one into the next, as one.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/hvtrace/trace_file.hpp"
#include "vmm/base/result.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

class TraceSeries final : public TraceSource {
 public:
  // The files at `paths`, at least one. User error when one cannot be read, or does not go on where
  // the one before it ends.
  static vmm::Result<TraceSeries> open(const std::vector<std::string>& paths);

  [[nodiscard]] const abi::TraceHeader& header() const override { return parts_[0].file.header(); }
  [[nodiscard]] std::uint64_t first() const override { return parts_[0].file.first(); }
  [[nodiscard]] std::uint64_t end() const override {
    return parts_.back().before + parts_.back().file.end();
  }
  // Numbers and times go on from part to part.
  [[nodiscard]] std::optional<abi::TraceRecord> at(std::uint64_t number) const override;
  [[nodiscard]] bool finished() const override { return parts_.back().file.finished(); }
  [[nodiscard]] std::uint64_t cut_off() const override { return parts_.back().file.cut_off(); }

  // The path of a file that was made shorter while it was read; empty: none was.
  [[nodiscard]] std::string torn() const;

 private:
  struct Part {
    std::string path;
    TraceFile file;
    std::uint64_t before = 0; // records of earlier parts
  };
  TraceSeries() = default;

  std::vector<Part> parts_;
};

} // namespace hvtrace
