// SPDX-License-Identifier: MIT
// Tells the sampler when resident memory is about to fall.
#pragma once

#include "vmm/hints/hint_observer.hpp"
#include "vmm/measure/sampler.hpp"

namespace vmm {

class DiscardMoments final : public HintObserver {
 public:
  // `sampler` outlives this.
  explicit DiscardMoments(Sampler& sampler) : sampler_(sampler) {}

  void on_discard_begin(const Batch& /*batch*/, unsigned /*lane*/, const CoalescedRuns& /*runs*/,
                        const DiscardCounters& /*counters*/) override {
    sampler_.before_discard();
  }

 private:
  Sampler& sampler_;
};

} // namespace vmm
