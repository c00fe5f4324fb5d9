// SPDX-License-Identifier: MIT
// A position in a trace and the state at that moment; moves both ways. Backwards is a checkpoint
// and a little replaying, so a step costs the same everywhere.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "vmm/trace/filter.hpp"
#include "vmm/trace/model.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

class Stepper {
 public:
  // `source` outlives the stepper and may grow meanwhile.
  explicit Stepper(const TraceSource& source);

  // Number of the latest record applied; source.first() - 1 before the first.
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const TraceSource& source() const { return source_; }
  // The latest record; empty before the first, and where one is missing.
  [[nodiscard]] std::optional<abi::TraceRecord> record() const { return source_.at(position_); }

  // To a record, or as near as there is one.
  void seek(std::uint64_t number);
  void forward(std::uint64_t records);
  void back(std::uint64_t records);
  // To the next, or previous, record that matches. False, and no move, when there is none.
  [[nodiscard]] bool find_forward(const Filter& filter);
  [[nodiscard]] bool find_back(const Filter& filter);

  [[nodiscard]] std::size_t checkpoints() const { return checkpoints_.size(); }

 private:
  void apply_next();
  void restore_before(std::uint64_t number);

  const TraceSource& source_;
  Model model_;
  std::uint64_t position_;
  std::uint64_t interval_;
  std::map<std::uint64_t, Model> checkpoints_; // position -> state there
};

} // namespace hvtrace
