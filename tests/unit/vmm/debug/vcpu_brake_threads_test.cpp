// SPDX-License-Identifier: MIT
#include "vmm/debug/vcpu_brake.hpp"

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

// vCPU threads that do nothing but ask, like VcpuRunner does, and count their turns.
class Machine {
 public:
  explicit Machine(unsigned vcpus) : turns(vcpus), next_report(vcpus) {
    auto made = VcpuBrake::create(vcpus, [this](unsigned vcpu) { kicks[vcpu]++; });
    REQUIRE(made);
    brake = std::move(*made);
    for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
      threads.emplace_back([this, vcpu] { run(vcpu); });
    }
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() { finish(); }

  void finish() {
    ended = true;
    brake->end();
    threads.clear();
  }
  void go() { go(std::vector<VcpuAction>(turns.size(), VcpuAction::go)); }
  bool go(const std::vector<VcpuAction>& wanted) {
    std::vector<VcpuResume> actions;
    actions.reserve(wanted.size());
    for (const VcpuAction action : wanted) {
      actions.push_back({action, false});
    }
    return brake->let_go(actions);
  }
  // Until the vCPU has had a turn from now on.
  void await_turn(unsigned vcpu) {
    const unsigned before = turns[vcpu];
    while (turns[vcpu] == before) {
      std::this_thread::yield();
    }
  }
  void await_event() const {
    pollfd event{brake->event(), POLLIN, 0};
    CHECK(::poll(&event, 1, -1) == 1);
  }

  std::vector<std::atomic<unsigned>> turns;
  // What the vCPU reports at its next turn; reason + 1, 0 for none.
  std::vector<std::atomic<unsigned>> next_report;
  std::array<std::atomic<unsigned>, 16> kicks{};
  std::atomic<bool> ended{false};
  std::unique_ptr<VcpuBrake> brake;
  std::vector<std::jthread> threads;

 private:
  void run(unsigned vcpu) {
    while (!ended) {
      if (!brake->may_enter(vcpu)) {
        brake->wait(vcpu);
        continue;
      }
      ++turns[vcpu];
      if (const unsigned reason = next_report[vcpu].exchange(0); reason != 0) {
        brake->report({vcpu, static_cast<StopReason>(reason - 1), 0});
      }
    }
  }
};

constexpr unsigned report(StopReason reason) {
  return static_cast<unsigned>(reason) + 1;
}

} // namespace

TEST_CASE("vcpu brake: nobody goes before it is let go, nobody after it is held") {
  Machine machine(3);
  REQUIRE(machine.brake->hold_all());
  CHECK(machine.turns[0] + machine.turns[1] + machine.turns[2] == 0);
  for (unsigned round = 0; round < 50; ++round) {
    machine.go();
    for (unsigned vcpu = 0; vcpu < 3; ++vcpu) {
      machine.await_turn(vcpu);
    }
    REQUIRE(machine.brake->hold_all());
    std::array<unsigned, 3> held{machine.turns[0], machine.turns[1], machine.turns[2]};
    std::this_thread::yield();
    for (unsigned vcpu = 0; vcpu < 3; ++vcpu) {
      CHECK(machine.turns[vcpu] == held[vcpu]);
    }
    CHECK_FALSE(machine.brake->take_stop());
  }
}

TEST_CASE("vcpu brake: one goes alone") {
  Machine machine(2);
  CHECK(machine.go({VcpuAction::stay, VcpuAction::step}));
  machine.await_turn(1);
  REQUIRE(machine.brake->hold_all());
  CHECK(machine.turns[0] == 0);
}

TEST_CASE("vcpu brake: a stop of its own is told once, and the others stop with it") {
  Machine machine(2);
  machine.next_report[1] = report(StopReason::breakpoint);
  machine.go();
  machine.await_event();
  CHECK(machine.brake->take_event());
  REQUIRE(machine.brake->hold_all());
  const auto stop = machine.brake->take_stop();
  REQUIRE(stop);
  CHECK(stop->vcpu == 1);
  CHECK(stop->reason == StopReason::breakpoint);
  CHECK_FALSE(machine.brake->take_stop());
  CHECK_FALSE(machine.brake->take_event());
  machine.go();
  machine.await_turn(1);
}

TEST_CASE("vcpu brake: of two stops at once the second is forgotten, unless it is the end") {
  for (const StopReason second : {StopReason::breakpoint, StopReason::stepped,
                                  StopReason::exception, StopReason::panic, StopReason::crash}) {
    Machine machine(2);
    machine.go({VcpuAction::go, VcpuAction::stay});
    machine.next_report[0] = report(StopReason::breakpoint);
    machine.await_event();
    machine.brake->note({1, second, 0});
    REQUIRE(machine.brake->hold_all());
    const auto stop = machine.brake->take_stop();
    REQUIRE(stop);
    CHECK(stop->vcpu == 0); // the earlier one
    const bool is_end = second == StopReason::panic || second == StopReason::crash;
    const unsigned before = machine.turns[0];
    CHECK(machine.go({VcpuAction::go, VcpuAction::go}) == !is_end);
    if (is_end) {
      CHECK(machine.turns[0] == before); // told first
      CHECK(machine.brake->take_event());
      REQUIRE(machine.brake->hold_all());
      CHECK(machine.brake->take_stop()->reason == second);
      CHECK(machine.go({VcpuAction::go, VcpuAction::go}));
    }
    machine.await_turn(0);
  }
}

TEST_CASE("vcpu brake: a kick that is lost is given again") {
  std::mutex mutex;
  std::condition_variable kicked;
  unsigned kicks = 0;
  auto made = VcpuBrake::create(1, [&](unsigned) {
    const std::scoped_lock lock(mutex);
    ++kicks;
    kicked.notify_all();
  });
  REQUIRE(made);
  VcpuBrake& brake = **made;
  REQUIRE(brake.let_go(std::vector<VcpuResume>(1)));
  REQUIRE(brake.may_enter(0));
  std::jthread vcpu([&] {
    {
      std::unique_lock lock(mutex);
      kicked.wait(lock, [&] { return kicks >= 3; }); // deaf to the first two
    }
    CHECK_FALSE(brake.may_enter(0));
    brake.wait(0);
  });
  REQUIRE(brake.hold_all());
  CHECK(kicks >= 3);
  brake.end();
}

TEST_CASE("vcpu brake: after the end nobody waits, on either side") {
  Machine machine(2);
  machine.next_report[0] = report(StopReason::crash);
  machine.go();
  machine.await_event(); // vCPU 0 waits for the debugger
  machine.finish();      // joins
  CHECK_FALSE(machine.brake->hold_all());
  CHECK(machine.brake->may_enter(0));
  machine.brake->wait(1);
}
