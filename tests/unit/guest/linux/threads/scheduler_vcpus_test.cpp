// SPDX-License-Identifier: MIT
// The scheduler on several vCPUs. These are coroutines of one test thread, so that a seed decides
// who comes into the kernel when: one of them at a time, as kernel_lock.hpp has it.
#include "guest/linux/threads/scheduler.hpp"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "tests/support/linux/hosted_contexts.hpp"

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using Wakes = Scheduler::Wakes;

constexpr std::uint64_t slice = 4'000'000; // ns

// What a vCPU does, seen from outside the kernel.
struct Vcpu {
  enum class Place : std::uint8_t { kernel, program, rest };
  Place place = Place::kernel;
  bool is_called = false;
  std::uint64_t until = 0;              // of the program's code, or of the rest
  std::uint64_t alarm = Machine::never; // interrupts the program's code
  const Thread* thread = nullptr;       // in the program
  ucontext_t outside{};
  std::vector<std::byte> stack; // its own, before its first thread
};

class Vcpus final : public Machine {
 public:
  explicit Vcpus(unsigned count) : all(count) {}

  [[nodiscard]] std::uint64_t now_ns() override { return now; }
  [[nodiscard]] bool sleep_until_ns(std::uint64_t deadline) override {
    Vcpu& self = all[current];
    self.place = Vcpu::Place::rest;
    self.until = deadline;
    leave(self);
    return false;
  }
  // The running thread's code, for so long: until it is interrupted.
  void run_program(const Thread& thread, std::uint64_t ns, std::uint64_t alarm) {
    Vcpu& self = all[current];
    self.place = Vcpu::Place::program;
    self.until = now + ns;
    self.alarm = alarm;
    self.thread = &thread;
    leave(self);
  }
  void call(unsigned vcpu) override {
    CHECK(vcpu != current);
    all.at(vcpu).is_called = true;
  }
  // The driver's: goes on with what the vCPU does, until it is outside the kernel again.
  void resume(unsigned vcpu) {
    current = vcpu;
    Vcpu& self = all[vcpu];
    self.is_called = false;
    self.place = Vcpu::Place::kernel;
    ::swapcontext(&driver, &self.outside);
  }

  [[nodiscard]] bool take_ready_files() override { return false; }
  [[nodiscard]] bool set_alarm_ns(std::uint64_t /*deadline*/) override { return false; }
  [[nodiscard]] SignalSet take_signals() override { return 0; }
  void set_handled_signals(SignalSet /*signals*/) override {}
  void set_thread_pointer(std::uint64_t /*address*/) override {}
  [[nodiscard]] std::uint64_t ram_bytes() const override { return 0; }
  [[nodiscard]] unsigned vcpus() const override { return static_cast<unsigned>(all.size()); }
  [[nodiscard]] unsigned vcpu() const override { return current; }
  [[noreturn]] void exit(std::uint8_t /*status*/) override { std::abort(); }

  std::uint64_t now = 1'000'000'000;
  unsigned current = 0;
  std::vector<Vcpu> all;
  ucontext_t driver{};

 private:
  // Whoever has resumed it goes on. Behind that another vCPU may be the current one, if the thread
  // has moved: then it is another's `outside` that has been resumed.
  void leave(Vcpu& self) { ::swapcontext(&self.outside, &driver); }
};

// Threads of a few processes that compute, wait for each other and end.
class Play final : ThreadOwner {
 public:
  Play(unsigned vcpus, unsigned threads, unsigned processes, unsigned seed)
      : machine(vcpus), random_(seed), tokens_(threads),
        scheduler(machine, contexts, *this, make(0, process(0), contexts.first())) {
    for (unsigned index = 1; index < threads; ++index) {
      contexts.bodies.push_back([this, index] {
        scheduler.arrive();
        live(index);
      });
      auto context = contexts.copy_running(0, {});
      REQUIRE(context.has_value());
      scheduler.add(make(index, process(index % processes), std::move(*context)));
    }
  }

  void go() {
    for (unsigned index = 1; index < machine.vcpus(); ++index) {
      begin(index);
    }
    Vcpu& first = machine.all[0];
    first.stack.resize(std::size_t{256} << 10);
    start(first, &Play::live_first);
    for (unsigned steps = 0; ended_ < tokens_.size(); ++steps) {
      REQUIRE(steps < 20'000); // or they go round in circles
      step();
      check();
    }
  }

  unsigned ended() const { return ended_; }

 private:
  std::unique_ptr<Thread> make(unsigned index, Process* whose, std::unique_ptr<Context> context) {
    return std::make_unique<Thread>(static_cast<std::int32_t>(index), whose, actions_, pending_,
                                    std::move(context));
  }
  // Nothing of it is looked at but which it is.
  Process* process(unsigned index) {
    return reinterpret_cast<Process*>(&processes_.at(index)); // NOLINT
  }
  unsigned pick(unsigned below) {
    return std::uniform_int_distribution<unsigned>(0, below - 1)(random_);
  }

  static void begin_stack(unsigned high, unsigned low) {
    const std::uintptr_t address = (std::uintptr_t{high} << 32) | low;
    auto* const play = reinterpret_cast<Play*>(address); // NOLINT(performance-no-int-to-ptr)
    std::exchange(play->entry_, nullptr)(*play);
  }
  void start(Vcpu& vcpu, std::function<void(Play&)> entry) {
    ::getcontext(&vcpu.outside);
    vcpu.outside.uc_stack.ss_sp = vcpu.stack.data();
    vcpu.outside.uc_stack.ss_size = vcpu.stack.size();
    const auto address = reinterpret_cast<std::uintptr_t>(this);
    ::makecontext(&vcpu.outside, reinterpret_cast<void (*)()>(&Play::begin_stack), 2, // NOLINT
                  static_cast<unsigned>(address >> 32), static_cast<unsigned>(address));
    entry_ = std::move(entry);
    machine.resume(static_cast<unsigned>(&vcpu - machine.all.data()));
  }
  void begin(unsigned index) {
    machine.all[index].stack.resize(std::size_t{256} << 10);
    start(machine.all[index], [](Play& play) {
      play.scheduler.note_vcpu(play.machine.vcpu());
      play.scheduler.serve();
    });
  }
  void live_first() {
    scheduler.note_vcpu(0);
    inside_ = process(0);
    live(0);
  }

  // ---- a thread's life, in the kernel but for compute()
  void live(unsigned index) {
    const auto count = static_cast<unsigned>(tokens_.size());
    for (unsigned round = 0; round < 6; ++round) {
      compute();
      post((index + 1 + round) % count);
      if (pick(3) == 0) {
        scheduler.yield();
      }
      if (pick(4) == 0) {
        stop_for_a_while(static_cast<std::int64_t>((index + 1) % count));
      }
      if (pick(4) == 0) {
        scheduler.wait_until_ns(machine.now + pick(3 * slice), Wakes::by_name);
      }
      wait(index);
    }
    compute();
    ++ended_;
    if (ended_ == count) {
      ::setcontext(&machine.driver); // somebody has to be there to end
    }
    scheduler.end_running();
  }
  void compute() {
    const Thread& self = scheduler.running();
    for (std::uint64_t left = pick(4) == 0 ? pick(4 * slice) : pick(slice / 8); left != 0;) {
      const std::uint64_t began = machine.now;
      const std::uint64_t alarm = scheduler.next_tick_ns();
      machine.run_program(self, left, alarm);
      scheduler.note_vcpu(machine.vcpu());
      REQUIRE(&scheduler.running() == &self);
      left -= std::min(left, machine.now - began);
      if (scheduler.wants_tick()) {
        scheduler.tick();
      }
      REQUIRE(&scheduler.running() == &self);
    }
  }
  // As job control does it. It goes on whatever comes meanwhile.
  void stop_for_a_while(std::int64_t id) {
    Thread* const other = scheduler.find(id);
    if (other == nullptr || other->is_held || scheduler.running().is_held) {
      return;
    }
    scheduler.hold(*other);
    scheduler.wait_until_ns(machine.now + pick(slice), Wakes::by_name);
    if (Thread* const still = scheduler.find(id)) {
      scheduler.release(*still);
    }
  }
  void post(unsigned index) {
    ++tokens_.at(index).count;
    if (Thread* const thread = tokens_.at(index).waiter) {
      scheduler.wake(*thread);
    }
  }
  void wait(unsigned index) {
    Token& token = tokens_.at(index);
    token.waiter = &scheduler.running();
    while (token.count == 0) {
      scheduler.wait_until_ns(Machine::never, Wakes::by_name);
    }
    --token.count;
    token.waiter = nullptr;
  }

  // ---- ThreadOwner
  void idle_until_ns(std::uint64_t deadline) override {
    static_cast<void>(machine.sleep_until_ns(deadline));
    scheduler.note_vcpu(machine.vcpu());
  }
  void enter(const Thread& next) override { inside_ = next.process; }
  [[nodiscard]] std::uint64_t slice_ns() const override { return slice; }

  // ---- the driver
  [[nodiscard]] bool may_enter(const Vcpu& vcpu) const {
    switch (vcpu.place) {
    case Vcpu::Place::program:
      return vcpu.is_called || machine.now >= std::min(vcpu.until, vcpu.alarm);
    case Vcpu::Place::rest:
      return vcpu.is_called || machine.now >= vcpu.until;
    default:
      return false;
    }
  }
  void step() {
    std::vector<unsigned> candidates;
    std::uint64_t next = Machine::never;
    for (unsigned index = 0; index < machine.vcpus(); ++index) {
      const Vcpu& vcpu = machine.all[index];
      if (may_enter(vcpu)) {
        candidates.push_back(index);
      } else {
        next = std::min(
            {next, vcpu.until, vcpu.place == Vcpu::Place::program ? vcpu.alarm : Machine::never});
      }
    }
    if (candidates.empty() || (next != Machine::never && pick(8) == 0)) {
      REQUIRE(next != Machine::never); // or all stand still
      machine.now = std::max(machine.now, next);
      return;
    }
    machine.resume(candidates.at(pick(static_cast<unsigned>(candidates.size()))));
  }
  void check() {
    std::set<const Thread*> threads;
    for (const Vcpu& vcpu : machine.all) {
      if (vcpu.place == Vcpu::Place::program) {
        REQUIRE(threads.insert(vcpu.thread).second);
        REQUIRE(vcpu.thread->process == inside_); // there is one address space
      }
    }
    // Who is ready waits for vCPUs that are busy, or are on their way.
    for (const auto& thread : scheduler.threads()) {
      if (thread->state == Thread::State::ready && !thread->is_held) {
        longest_wait_ = std::max(longest_wait_, machine.now - thread->ready_since_ns);
        REQUIRE(std::ranges::any_of(machine.all, [this](const Vcpu& vcpu) {
          return vcpu.place == Vcpu::Place::program || may_enter(vcpu);
        }));
      }
    }
  }

  struct Token {
    unsigned count = 0;
    Thread* waiter = nullptr;
  };

 public:
  Vcpus machine;
  test_support::HostedContexts contexts;
  std::uint64_t longest_wait_ = 0;

 private:
  SignalActions actions_;
  PendingSignals pending_;
  std::array<int, 8> processes_{};
  std::minstd_rand random_;
  std::vector<Token> tokens_;
  unsigned ended_ = 0;
  const Process* inside_ = nullptr;
  std::function<void(Play&)> entry_;
  Scheduler scheduler;
};

void play(unsigned vcpus, unsigned threads, unsigned processes, unsigned seeds) {
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    auto all = std::make_unique<Play>(vcpus, threads, processes, seed);
    all->go();
    CHECK(all->ended() == threads);
    // Each of the others a few slices: nobody is forgotten.
    CHECK(all->longest_wait_ <= 3 * threads * slice);
  }
}

TEST_CASE("threads of one process on several vCPUs: each once, none forgotten") {
  SUBCASE("one vCPU") {
    play(1, 4, 1, 20);
  }
  SUBCASE("as many as threads") {
    play(3, 3, 1, 60);
  }
  SUBCASE("fewer") {
    play(2, 5, 1, 60);
  }
  SUBCASE("more") {
    play(4, 2, 1, 40);
  }
}

TEST_CASE("threads of several processes are never on vCPUs at the same time, and all go on") {
  SUBCASE("two vCPUs") {
    play(2, 5, 2, 80);
  }
  SUBCASE("four vCPUs") {
    play(4, 8, 3, 40);
  }
}

} // namespace
