// SPDX-License-Identifier: MIT
// The host's end of reporting: whoever answers the guest's hints, and whoever tells it how to
// report. On a host with faults, or with a stepper at its prompt, an adversary is between.
#pragma once

#include <memory>

#include "vmm/base/result.hpp"
#include "vmm/control/report_control_writer.hpp"
#include "vmm/guest_machine.hpp"
#include "vmm/hints/adversary/adversary.hpp"
#include "vmm/hints/discard_calls.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/hint_service.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// Who looks on, and who changes answers at a prompt.
struct HintSideFriends {
  HintObserver& observer; // outlives the side
  ReportControlWriter::Observer policies{};
  FaultsByHand faults_by_hand{}; // empty: nobody does
};

class HintSide {
 public:
  // `guest` and `end` outlive it. Environment error when the host cannot discard as it was told to.
  static Result<std::unique_ptr<HintSide>> create(const Config& config, const GuestMachine& guest,
                                                  GuestEnd& end, HintSideFriends friends);
  HintSide(const HintSide&) = delete;
  HintSide& operator=(const HintSide&) = delete;

  [[nodiscard]] HintService& service() { return *service_; }
  [[nodiscard]] const HintService& service() const { return *service_; }
  [[nodiscard]] ReportControlWriter& control() { return control_; }
  [[nodiscard]] const ReportControlWriter& control() const { return control_; }

 private:
  HintSide(const Config& config, const GuestMachine& guest, ReportControlWriter::Observer policies);

  SystemDiscardCalls calls_;
  ReportControlWriter control_;
  std::unique_ptr<HintService> service_; // last: its threads use the calls
};

} // namespace vmm
