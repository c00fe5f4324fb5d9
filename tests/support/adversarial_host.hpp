// SPDX-License-Identifier: MIT
// A host that serves report channels from a thread of its own, as badly as it is told to. Whatever
// it does, it keeps to the protocol's letter: it never touches a range that it has answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "shared/boot_info.hpp"
#include "tests/support/fake_report_host.hpp"
#include "tests/support/guest_content.hpp"

namespace test_support {

// Rates are in percent, of batches or of ranges.
struct HostFaults {
  unsigned drop = 0;      // batches never answered; discarded again and again to the end
  unsigned duplicate = 0; // batches answered once more, later
  unsigned decline = 0;   // ranges declined, some of them half discarded
  unsigned fail = 0;      // ranges answered as failed
  unsigned delay_rounds = 0;
  bool reorder = false;
  std::uint64_t stall_after = ~std::uint64_t{0}; // batches; drops all that follow
};

class AdversarialHost {
 public:
  AdversarialHost(const std::vector<abi::Channel*>& channels, GuestContent& content,
                  const HostFaults& faults, std::uint64_t seed);

  // Takes what was submitted, and answers what is due and has room. Call it over and over, always
  // from one thread.
  void round();
  // Whether everything has been answered that ever will be.
  [[nodiscard]] bool idle() const { return pending_.empty(); }

  // Good when the thread has ended.
  struct Counters {
    std::uint64_t taken = 0;
    std::uint64_t answered = 0;
    std::uint64_t repeated = 0;
    std::uint64_t dropped = 0;
    std::uint64_t dropped_frames = 0; // of the blocks of dropped batches
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Pending {
    std::size_t channel = 0;
    std::uint64_t due_round = 0;
    TakenBatch batch;
    abi::CompletionEntry answer;
    bool repetition = false;
  };

  [[nodiscard]] bool chance(unsigned percent) { return random_() % 100 < percent; }
  void take(std::size_t channel);
  void answer(Pending& work);
  void discard(const TakenBatch& batch);

  std::vector<FakeReportHost> hosts_;
  GuestContent& content_;
  HostFaults faults_;
  std::mt19937_64 random_;
  std::uint64_t round_ = 0;
  std::vector<Pending> pending_;
  std::vector<TakenBatch> dropped_;
  Counters counters_;
};

// Changes the policy as a host does while the guest runs.
void write_control(abi::ReportControl& control, const abi::ReportPolicy& policy,
                   std::uint64_t timeout_ns);

} // namespace test_support
