// SPDX-License-Identifier: MIT
// A BatchProcessor that carries out what a fault plan says about the work on a batch. For a batch
// without faults it is the processor and nothing else.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/hint_port.hpp"

namespace vmm {

// One per thread that processes batches; counters of processor() may be read by others.
class FaultyProcessor {
 public:
  explicit FaultyProcessor(DiscardEngine engine) : processor_(ManagedRange{}, std::move(engine)) {}

  // Before the first process(), or between two.
  void configure(ManagedRange managed, const std::optional<HintChecker>& checker);

  // Before the first process(); as BatchProcessor's.
  void set_observer(HintObserver& observer, unsigned lane) {
    processor_.set_observer(&observer, lane);
  }

  // Fills held.batch.answer and held.settled_by_fault. Allocates nothing.
  void process(HeldBatch& held);

  // The hint check's first objection, once.
  [[nodiscard]] std::optional<HintViolation> take_violation();
  [[nodiscard]] const BatchProcessor& processor() const { return processor_; }

 private:
  void process_partly(HeldBatch& held);

  BatchProcessor processor_;
  bool violation_told_ = false;
  // Scratch of one process_partly().
  Batch kept_;
  std::array<std::uint16_t, abi::max_batch_ranges> kept_from_{};
};

} // namespace vmm
