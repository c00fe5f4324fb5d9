// SPDX-License-Identifier: MIT
#include "vmm/hint_side.hpp"

#include <utility>

namespace vmm {
namespace {

HintEvents make_events(const GuestMachine& guest, GuestEnd& end) {
  return {
      .interrupt = [&guest](unsigned channel) { guest.wake(channel); },
      .violation =
          [&end](const HintViolation& violation) {
            end.end({EndKind::crashed, 0, "guest crash: check of hints: " + violation.describe()});
          }};
}

} // namespace

Result<std::unique_ptr<HintSide>> HintSide::create(const Config& config, const GuestMachine& guest,
                                                   GuestEnd& end, HintSideFriends friends) {
  std::unique_ptr<HintSide> side(new HintSide(config, guest, std::move(friends.policies)));
  const DiscardOptions discard{.method = config.discard, .decline_below = config.decline_below};
  const HintEvents events = make_events(guest, end);
  const unsigned channels = guest.plan().vcpus;
  std::unique_ptr<Adversary> adversary; // none on an honest host
  if (config.host_faults.any() || friends.faults_by_hand) {
    EBB_TRY_ASSIGN(made,
                   Adversary::create(guest.memory(), channels,
                                     {.discard = discard,
                                      .faults = config.host_faults,
                                      .seed = config.seed,
                                      .stop_fd = end.stop_fd()},
                                     side->calls_, events, std::move(friends.faults_by_hand)));
    adversary = std::move(made);
  }
  EBB_TRY_ASSIGN(service, HintService::create(
                              guest.memory(), channels,
                              {.discard = discard, .mode = config.host, .workers = config.workers},
                              side->calls_, events, std::move(adversary), &friends.observer));
  side->service_ = std::move(service);
  return side;
}

// Whoever tells the guest of a new policy also wakes it: an idle guest should act on it.
HintSide::HintSide(const Config& config, const GuestMachine& guest,
                   ReportControlWriter::Observer policies)
    : control_(
          guest.report_control(),
          {config.report, config.report_timeout_ns, config.report_automatic},
          [&guest] { guest.wake_all(); }, std::move(policies)) {}

} // namespace vmm
