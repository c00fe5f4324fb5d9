// SPDX-License-Identifier: MIT
// What a guest's milestones (its hello, its other vCPUs, the beginning and end of its workload)
// mean to everybody else: they are told in the order in which they rely on each other.
#pragma once

#include "vmm/guest_machine.hpp"
#include "vmm/hint_side.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/step/live_stepper.hpp"
#include "vmm/vcpu/guest_end.hpp"
#include "vmm/vcpu/hypercalls.hpp"
#include "vmm/watch.hpp"

namespace vmm {

// All of it outlives the milestones.
struct MilestoneParts {
  GuestMachine& guest;
  GuestEnd& end;
  Watch& watch;
  HintSide& hints;
  LiveStepper* stepper = nullptr; // null: nobody stops the guest at its hypercalls
};

class Milestones final : public HypercallListener {
 public:
  Milestones(const Config& config, const MilestoneParts& parts)
      : parts_(parts), check_(config.check_hints), transport_(config.transport),
        workers_(config.workers) {}

  void on_call(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) override;
  void on_hello(const abi::GuestHello& hello) override;
  void on_start_vcpus() override { parts_.guest.threads().run_others(); }
  void on_workload_begin() override { parts_.watch.on_workload_begin(); }
  void on_workload_end(std::uint64_t since_last_free_ns) override {
    parts_.watch.on_workload_end(since_last_free_ns);
  }

 private:
  void bind_doorbells() const;

  const MilestoneParts parts_;
  const HintCheck check_;
  const Transport transport_;
  const unsigned workers_;
};

} // namespace vmm
