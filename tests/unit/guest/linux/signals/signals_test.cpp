// SPDX-License-Identifier: MIT
#include "guest/linux/signals/signals.hpp"

#include <csignal>
#include <cstring>
#include <random>
#include <vector>

#include "guest/linux/signals/signal_frame.hpp"

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

constexpr std::uint64_t a_handler = 0x401000;

// A process with one thread.
struct OneThread {
  SignalActions actions;
  PendingSignals shared;
  Signals signals{actions, shared};
};

SignalCause cause(std::uint64_t signal) {
  return {.signal = signal, .code = SI_USER, .address = 0, .process = 2, .user = 0};
}

TEST_CASE("a signal does by default what signal(7) says") {
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    OneThread thread;
    Signals& signals = thread.signals;
    const bool ignored =
        signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT;
    const bool stops =
        signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
    CHECK(signals.send(cause(signal)) == (ignored ? SignalEffect::nothing
                                          : stops ? SignalEffect::stop
                                                  : SignalEffect::end));
    CHECK(((thread.actions.survived() >> (signal - 1)) & 1) == (ignored ? 1 : 0));
    CHECK_FALSE(signals.due());
  }
}

TEST_CASE("what is blocked waits, once unless it is for real time, lowest number first") {
  OneThread thread;
  Signals& signals = thread.signals;
  for (const std::uint64_t signal : {10U, 12U, 40U}) { // SIGUSR1, SIGUSR2, a real-time one
    thread.actions.set(signal, {.handler = a_handler});
  }
  signals.set_blocked(~SignalSet{0});
  for (int round = 0; round < 3; ++round) {
    for (const std::uint64_t signal : {40U, 12U, 10U}) {
      CHECK(signals.send(cause(signal)) == SignalEffect::nothing);
    }
  }
  CHECK_FALSE(signals.due());
  CHECK(signals.waiting() == (set_of(SIGUSR1) | set_of(SIGUSR2) | set_of(40)));
  signals.set_blocked(0);
  std::vector<std::uint64_t> order;
  while (const auto taken = signals.take()) {
    order.push_back(taken->cause.signal);
    CHECK(taken->effect == SignalEffect::handler);
    signals.set_blocked(0); // its handler has returned
  }
  CHECK(order == std::vector<std::uint64_t>{SIGUSR1, SIGUSR2, 40, 40, 40});
}

TEST_CASE("one for real time waits as often as it came, in order, with what was said") {
  OneThread thread;
  Signals& signals = thread.signals;
  signals.set_blocked(~SignalSet{0});
  for (std::uint64_t value = 1; value <= 3; ++value) {
    for (const std::uint64_t signal : {std::uint64_t{SIGUSR1}, std::uint64_t{40}}) {
      static_cast<void>(signals.send({.signal = signal, .code = SI_QUEUE, .value = value}));
    }
  }
  CHECK_FALSE(signals.accept(set_of(SIGUSR2)));
  CHECK(signals.accept(set_of(SIGUSR1) | set_of(40))->value == 1);
  CHECK_FALSE(signals.accept(set_of(SIGUSR1))); // the same one, three times
  for (std::uint64_t value = 1; value <= 3; ++value) {
    const auto accepted = signals.accept(set_of(40));
    REQUIRE(accepted.has_value());
    CHECK(accepted->value == value);
    const SignalInformation information = information_of(*accepted);
    CHECK(information.signal == 40);
    CHECK(information.code == SI_QUEUE);
    CHECK(information.value == value);
  }
  CHECK(signals.waiting() == 0);
  while (signals.own().has_room()) {
    static_cast<void>(signals.send({.signal = 41, .code = SI_QUEUE}));
  }
  signals.forget(41);
  CHECK(signals.own().has_room());
  CHECK(signals.waiting() == 0);
}

TEST_CASE("a handler runs with its own signal and its mask blocked") {
  OneThread thread;
  Signals& signals = thread.signals;
  SignalAction action{.handler = a_handler, .flags = 0, .restorer = 0, .mask = set_of(SIGTERM)};
  signals.set_blocked(set_of(SIGHUP));
  SUBCASE("but its own with SA_NODEFER") {
    action.flags = SA_NODEFER;
  }
  SUBCASE("as ever") {}
  thread.actions.set(SIGUSR1, action);
  CHECK(signals.send(cause(SIGUSR1)) == SignalEffect::handler);
  const auto taken = signals.take();
  REQUIRE(taken.has_value());
  CHECK(taken->blocked_before == set_of(SIGHUP));
  CHECK(signals.blocked() ==
        (set_of(SIGHUP) | set_of(SIGTERM) | (action.flags == 0 ? set_of(SIGUSR1) : SignalSet{0})));
}

TEST_CASE("SIGKILL and SIGSTOP cannot be blocked") {
  OneThread thread;
  Signals& signals = thread.signals;
  signals.set_blocked(~SignalSet{0});
  CHECK(signals.send(cause(SIGKILL)) == SignalEffect::end);
  CHECK(signals.send(cause(SIGSTOP)) == SignalEffect::stop);
}

TEST_CASE("a handler that is for once is the default afterwards") {
  OneThread thread;
  Signals& signals = thread.signals;
  thread.actions.set(SIGUSR1, {.handler = a_handler, .flags = SA_RESETHAND});
  CHECK(signals.send(cause(SIGUSR1)) == SignalEffect::handler);
  CHECK(signals.take().has_value());
  signals.set_blocked(0);
  CHECK(signals.send(cause(SIGUSR1)) == SignalEffect::end);
}

TEST_CASE(
    "what waits is forgotten when it is ignored, and ends the process when it is not handled") {
  OneThread thread;
  Signals& signals = thread.signals;
  thread.actions.set(SIGUSR1, {.handler = a_handler});
  signals.set_blocked(set_of(SIGUSR1));
  CHECK(signals.send(cause(SIGUSR1)) == SignalEffect::nothing);
  SUBCASE("ignored") {
    thread.actions.set(SIGUSR1, {.handler = SignalAction::ignore});
    signals.forget(SIGUSR1);
    signals.set_blocked(0);
    CHECK_FALSE(signals.due());
  }
  SUBCASE("default") {
    thread.actions.set(SIGUSR1, {});
    signals.set_blocked(0);
    const auto taken = signals.take();
    REQUIRE(taken.has_value());
    CHECK(taken->effect == SignalEffect::end);
  }
}

TEST_CASE("the program that follows finds no handlers, what is ignored, and what waits") {
  OneThread thread;
  Signals& signals = thread.signals;
  thread.actions.set(SIGUSR1, {.handler = 0x1000});
  thread.actions.set(SIGUSR2, {.handler = SignalAction::ignore, .flags = SA_RESTART});
  signals.set_blocked(set_of(SIGHUP));
  CHECK(signals.send({.signal = SIGHUP}) == SignalEffect::nothing);
  thread.actions.forget_handlers();
  CHECK_FALSE(thread.actions.has_handlers());
  CHECK(signals.send({.signal = SIGUSR1}) == SignalEffect::end);
  CHECK(signals.send({.signal = SIGUSR2}) == SignalEffect::nothing);
  CHECK(thread.actions.of(SIGUSR2).flags == 0);
  CHECK(signals.waiting() == set_of(SIGHUP));
  CHECK(signals.blocked() == set_of(SIGHUP));
}

TEST_CASE("what comes for a process is taken by a thread that does not block it, once") {
  SignalActions actions;
  PendingSignals shared;
  Signals blocking(actions, shared);
  Signals open(actions, shared);
  actions.set(SIGUSR1, {.handler = a_handler});
  blocking.set_blocked(set_of(SIGUSR1));
  shared.add(cause(SIGUSR1));
  CHECK_FALSE(blocking.due());
  CHECK(blocking.waiting() == set_of(SIGUSR1)); // sigpending tells it all the same
  REQUIRE(open.due());
  CHECK(open.take()->cause.signal == SIGUSR1);
  CHECK_FALSE(open.due());
  CHECK(blocking.waiting() == 0);
}

TEST_CASE("what comes for one thread is not another's, and comes before what is for any") {
  SignalActions actions;
  PendingSignals shared;
  Signals one(actions, shared);
  Signals other(actions, shared);
  actions.set(40, {.handler = a_handler});
  shared.add({.signal = 40, .value = 1});
  CHECK(one.send({.signal = 40, .value = 2}) == SignalEffect::handler);
  CHECK(one.take()->cause.value == 2);
  one.set_blocked(0);
  CHECK(one.send({.signal = 40, .value = 3}) == SignalEffect::handler);
  CHECK(other.take()->cause.value == 1);
  other.set_blocked(0);
  CHECK_FALSE(other.due());
  CHECK(one.due());
}

TEST_CASE("a fault that is blocked, ignored or has no handler is the end; else it comes first") {
  OneThread thread;
  Signals& signals = thread.signals;
  CHECK(signals.fault(cause(SIGSEGV)) == SignalEffect::end);
  thread.actions.set(SIGSEGV, {.handler = SignalAction::ignore});
  CHECK(signals.fault(cause(SIGSEGV)) == SignalEffect::end);
  thread.actions.set(SIGSEGV, {.handler = a_handler});
  thread.actions.set(SIGHUP, {.handler = a_handler});
  CHECK(signals.send(cause(SIGHUP)) == SignalEffect::handler);
  CHECK(signals.fault(cause(SIGSEGV)) == SignalEffect::handler);
  const auto taken = signals.take();
  REQUIRE(taken.has_value());
  CHECK(taken->cause.signal == SIGSEGV);
  CHECK(signals.fault(cause(SIGSEGV)) == SignalEffect::end); // in its own handler
}

TEST_CASE("what a handler's frame holds comes back as it was") {
  std::mt19937_64 random(1); // NOLINT
  Registers registers;
  for (std::uint64_t* const value : {&registers.r15, &registers.r8, &registers.rdi, &registers.rsi,
                                     &registers.rbp, &registers.rbx, &registers.rdx, &registers.rcx,
                                     &registers.rax, &registers.rip, &registers.rsp}) {
    *value = random();
  }
  registers.flags = 0x202 | 0x400 | 0x1;
  OneThread thread;
  Signals& signals = thread.signals;
  thread.actions.set(SIGUSR1, {.handler = a_handler, .restorer = 0x402000});
  CHECK(signals.send(cause(SIGUSR1)) == SignalEffect::handler);
  const auto taken = signals.take();
  REQUIRE(taken.has_value());
  const SignalPlace place = place_below(0x7000'0000, marked_state_bytes(832));
  const SignalFrame frame = make_frame(registers, *taken, {}, place);
  CHECK(frame.restorer == 0x402000);

  Registers handler = registers;
  enter_handler(handler, *taken, place);
  CHECK(handler.rip == a_handler);
  CHECK(handler.rdi == SIGUSR1);
  CHECK(handler.rsp == place.frame);
  CHECK((handler.flags & 0x400) == 0);

  leave_handler(handler, frame.context);
  CHECK(handler.rip == registers.rip);
  CHECK(handler.rsp == registers.rsp);
  CHECK(handler.rax == registers.rax);
  CHECK(handler.r15 == registers.r15);
  CHECK(handler.flags == registers.flags);
}

TEST_CASE("a program cannot give itself flags, segments or a state that it may not have") {
  Registers registers;
  registers.flags = 0x202; // interrupts are on
  registers.cs = 0x23;
  SignalContext context{};
  context.flags = ~std::uint64_t{0};
  context.cs = 8;
  leave_handler(registers, context);
  CHECK((registers.flags & 0x3000) == 0); // I/O privilege
  CHECK((registers.flags & 0x100) == 0);  // a trap after each instruction
  CHECK((registers.flags & 0x4000) == 0); // nested task
  CHECK(registers.cs == 0x23);
  context.flags = 0;
  leave_handler(registers, context);
  CHECK((registers.flags & 0x202) == 0x202);

  std::vector<std::byte> bytes(832, std::byte{0xff});
  clean_state({.bytes = bytes, .features = 7});
  std::uint64_t present = 0;
  std::memcpy(&present, bytes.data() + 512, sizeof present);
  CHECK(present == 7);
  for (std::size_t at = 520; at < 576; ++at) {
    CHECK(bytes[at] == std::byte{0});
  }
  std::uint32_t mxcsr = 0;
  std::memcpy(&mxcsr, bytes.data() + 24, sizeof mxcsr);
  CHECK(mxcsr == 0xffff);
}

TEST_CASE("frames lie as calls want them and do not overlap, wherever the stack is") {
  for (std::uint64_t stack = 0x10000; stack < 0x10100; ++stack) {
    const std::size_t bytes = marked_state_bytes(2696);
    const SignalPlace place = place_below(stack, bytes);
    REQUIRE(place.extended_state % 64 == 0);
    REQUIRE((place.frame + 8) % 16 == 0);
    REQUIRE(place.extended_state + bytes <= stack);
    REQUIRE(place.frame + sizeof(SignalFrame) <= place.extended_state);
  }
}

} // namespace
