// SPDX-License-Identifier: MIT
// Stops from several threads at once: one at a time, with the gate closed, and none left behind
// whatever ends the session.
#include "vmm/step/live_stepper.hpp"

#include <atomic>
#include <csignal>
#include <deque>
#include <thread>

#include <doctest/doctest.h>

#include "tests/support/temporary_path.hpp"
#include "vmm/measure/sampler.hpp"

using namespace vmm;
using hvtrace::StepConsole;
using hvtrace::StepLoop;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{16} << 20;
constexpr unsigned threads = 4;
constexpr unsigned calls_each = 50;

// A guest of threads that do nothing but call, and a console that a test writes.
class Session {
 public:
  using Script = std::function<StepConsole::End(const StepLoop&, unsigned stop)>;

  explicit Session(Script script, LiveStepperParts::AfterDetach after_detach =
                                      LiveStepperParts::AfterDetach::record)
      : path_("live-stepper"), memory_(*GuestMemory::create(ram_bytes, Backing::small_pages)),
        recorder_(*TraceRecorder::create(std::move(*TraceTarget::open(path_.text())),
                                         {.level = abi::TraceLevel::all, .tsc_khz = 1'000'000},
                                         memory_)),
        end_(*GuestEnd::create()), gate_(threads, SIGUSR1), script_(std::move(script)),
        stepper_({.recorder = *recorder_,
                  .gate = gate_,
                  .end = *end_,
                  .guest = {.memory = memory_,
                            .symbols = symbols_,
                            .vcpus = threads,
                            .registers = [](unsigned) { return std::string(); }},
                  .console = [this](const StepLoop& loop, int) { return take_stop(loop); },
                  .after_detach = after_detach}) {
    REQUIRE(recorder_->begin().has_value());
  }

  void run() {
    std::deque<std::jthread> running;
    for (unsigned vcpu = 0; vcpu < threads; ++vcpu) {
      running.emplace_back([this, vcpu] {
        for (unsigned call = 0; call < calls_each && !end_->ended(); ++call) {
          recorder_->hypercall(vcpu, abi::Hypercall::wait, call);
          stepper_.at_hypercall(vcpu, abi::Hypercall::wait, call);
        }
      });
    }
  }

  [[nodiscard]] unsigned stops() const { return stops_; }
  [[nodiscard]] GuestEnd& end() { return *end_; }
  [[nodiscard]] LiveStepper& stepper() { return stepper_; }
  [[nodiscard]] TraceRecorder& recorder() { return *recorder_; }

 private:
  StepConsole::End take_stop(const StepLoop& loop) {
    CHECK(inside_.fetch_add(1) == 0);
    const StepConsole::End end = script_(loop, stops_++);
    inside_.fetch_sub(1);
    return end;
  }

  test_support::TemporaryPath path_;
  GuestMemory memory_;
  Symbols symbols_;
  std::unique_ptr<TraceRecorder> recorder_;
  std::unique_ptr<GuestEnd> end_;
  VcpuGate gate_;
  Script script_;
  std::atomic<unsigned> inside_{0};
  unsigned stops_ = 0; // only ever inside
  LiveStepper stepper_;
};

StepConsole::End execute(const StepLoop& loop, std::string_view line) {
  return loop.execute(line).resume ? StepConsole::End::resumed : StepConsole::End::stopped;
}

} // namespace

TEST_CASE("live stepper: every call of every thread is a stop of its own") {
  Session session([](const StepLoop& loop, unsigned) {
    CHECK(loop.opening.find("calls wait") != std::string::npos);
    CHECK_FALSE(loop.screen({}).empty());
    return execute(loop, "s");
  });
  session.run();
  CHECK(session.stops() == threads * calls_each);
}

TEST_CASE("live stepper: quitting ends the guest, and nobody else stops") {
  Session session([](const StepLoop& loop, unsigned stop) {
    return stop == 10 ? StepConsole::End::quit : execute(loop, "s");
  });
  session.run();
  CHECK(session.stops() == 11);
  REQUIRE(session.end().ended());
  CHECK(session.end().ending().process_status() == 130);
  session.stepper().at_end(session.end().ending(), -1);
  CHECK(session.stops() == 11);
}

TEST_CASE("live stepper: without more input the guest runs on, to its end and past it") {
  Session session([](const StepLoop& loop, unsigned stop) {
    return stop == 3 ? StepConsole::End::input_over : execute(loop, "s");
  });
  session.run();
  CHECK(session.stops() == 4);
  CHECK_FALSE(session.end().ended());
  session.stepper().at_end({}, -1);
  CHECK(session.stops() == 4);
}

TEST_CASE("live stepper: c stops once more at the end") {
  Session session([](const StepLoop& loop, unsigned stop) {
    if (stop == 0) {
      return execute(loop, "c");
    }
    CHECK(loop.opening == "the guest has ended: exited with status 0");
    return StepConsole::End::quit;
  });
  session.run();
  CHECK(session.stops() == 1);
  session.end().end({});
  session.stepper().at_end(session.end().ending(), -1);
  CHECK(session.stops() == 2);
  CHECK(session.end().ending().process_status() == 0);
}

TEST_CASE("live stepper: a trace that nobody can read any more stops growing") {
  using AfterDetach = LiveStepperParts::AfterDetach;
  for (const AfterDetach after : {AfterDetach::record, AfterDetach::mute}) {
    Session session([](const StepLoop& loop, unsigned) { return execute(loop, "d"); }, after);
    session.run();
    const std::uint64_t before = session.recorder().writer().records();
    session.recorder().hypercall(0, abi::Hypercall::wait, 0);
    CHECK(session.recorder().writer().records() - before == (after == AfterDetach::record ? 1 : 0));
  }
}

TEST_CASE("live stepper: whoever waits for a turn when the guest ends goes on at once") {
  Session session([&](const StepLoop&, unsigned) { return StepConsole::End::stopped; });
  // As when the end made the console stop: no command was given.
  session.end().end({EndKind::interrupted, 2, {}});
  session.run();
  CHECK(session.stops() == 0);
}
