// SPDX-License-Identifier: MIT
// Whoever takes batches over from the service between their taking and their answer. An honest host
// has none; the other kind is in adversary/.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/batch_validator.hpp"
#include "vmm/hints/hint_checker.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/hint_port.hpp"

namespace vmm {

struct HintTotals;

// Whether the guest takes answers that come after the doorbell has returned (feature_async).
enum class LateAnswers : std::uint8_t { refused, taken };

class BatchInterceptor {
 public:
  BatchInterceptor() = default;
  BatchInterceptor(const BatchInterceptor&) = delete;
  BatchInterceptor& operator=(const BatchInterceptor&) = delete;
  virtual ~BatchInterceptor() = default;

  // Before the first batch. Its processors have the lanes from `first_lane` on.
  virtual void set_observer(HintObserver& observer, unsigned first_lane) = 0;
  // Makes the threads that it needs; returns how many. Once, before configure().
  [[nodiscard]] virtual Result<unsigned> make_threads(const ThreadStart& on_start) = 0;
  // After the guest's hello was accepted, once; as the service's processors.
  virtual void configure(ManagedRange managed, const std::optional<HintChecker>& checker,
                         LateAnswers late) = 0;

  // Takes over a batch that has just been taken from `port`: it is processed, by `processor` now
  // or otherwise later, and answered, late or never. On the thread that took it, which is the
  // processor's.
  virtual void intercept(HintPort& port, HeldBatch& held, BatchProcessor& processor) = 0;
  // A doorbell that arrived as an exit is about to return.
  virtual void before_return(HintPort& port) = 0;

  // Ends its threads. Batches that are put off are left without an answer; whose answer is already
  // made get it. Any number of times.
  virtual void stop() = 0;
  // Adds what it has done. Any thread.
  virtual void add_to(HintTotals& totals) const = 0;
};

} // namespace vmm
