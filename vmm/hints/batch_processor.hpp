// SPDX-License-Identifier: MIT
// The middle of a batch's way through the host: judge, coalesce, discard, fill in the answer. It
// touches no channel, so it may run on another thread than the one that took the batch.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "vmm/base/counter.hpp"
#include "vmm/hints/batch.hpp"
#include "vmm/hints/batch_validator.hpp"
#include "vmm/hints/discard_engine.hpp"
#include "vmm/hints/hint_checker.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/range_coalescer.hpp"

namespace vmm {

// Owns everything that processing needs; one per thread. Counters may be read by other threads,
// the setters and violation() belong to the processing thread.
class BatchProcessor {
 public:
  BatchProcessor(ManagedRange managed, DiscardEngine engine)
      : validator_(managed), engine_(std::move(engine)) {}

  // After the guest's hello, between two process(): where hints may lie, and who checks them
  // against the guest's own tags, if anybody does.
  void configure(ManagedRange managed, const std::optional<HintChecker>& checker) {
    validator_.set_managed(managed);
    checker_ = checker;
  }

  // Null: nobody watches. `lane` tells processors apart; the observer outlives this one.
  void set_observer(HintObserver* observer, unsigned lane) {
    observer_ = observer;
    lane_ = lane;
  }

  // Fills batch.answer, whatever the batch contains. Allocates nothing. If the checker objects,
  // nothing of the batch is discarded and all of it is answered as failed.
  void process(Batch& batch);

  // The first objection of the checker, if any; and the same, once.
  [[nodiscard]] const std::optional<HintViolation>& violation() const { return violation_; }
  [[nodiscard]] std::optional<HintViolation> take_violation();
  [[nodiscard]] std::uint64_t violation_count() const { return violations_.value(); }
  [[nodiscard]] const BatchValidator& validator() const { return validator_; }
  [[nodiscard]] const DiscardEngine& engine() const { return engine_; }

 private:
  [[nodiscard]] bool objects(const CheckedBatch& checked);
  void discard(Batch& batch);

  BatchValidator validator_;
  DiscardEngine engine_;
  std::optional<HintChecker> checker_;
  std::optional<HintViolation> violation_;
  bool violation_taken_ = false;
  Counter violations_;
  HintObserver* observer_ = nullptr;
  unsigned lane_ = 0;
  // Scratch of one process().
  CheckedBatch checked_;
  CoalescedRuns runs_;
};

} // namespace vmm
