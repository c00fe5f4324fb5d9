// SPDX-License-Identifier: MIT
#include "guest/linux/threads/kernel_lock.hpp"

#include <array>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::KernelLock;
using guest::linux::VcpuInterrupts;

// Nobody waits here.
struct Yield {
  void operator()() const { FAIL("waits"); }
  [[nodiscard]] static constexpr bool now_is_time_to_nap() { return false; }
};

struct Count final : VcpuInterrupts {
  [[nodiscard]] std::uint32_t& called(unsigned vcpu) override { return words[vcpu]; }
  void interrupt(unsigned vcpu) override { interrupted.push_back(vcpu); }
  void forget(unsigned vcpu) override { forgot.push_back(vcpu); }
  std::array<std::uint32_t, 3> words{};
  std::vector<unsigned> interrupted;
  std::vector<unsigned> forgot;
};

TEST_CASE("only who is in the program or halts is interrupted, and once") {
  Count count;
  KernelLock lock(count, 3);
  const auto enter = [&](unsigned vcpu) { return lock.enter(vcpu, Yield{}); };
  CHECK(enter(1) == KernelLock::Entry::own);
  lock.leave(1);
  CHECK(enter(2) == KernelLock::Entry::own);
  lock.rest(2);
  CHECK(enter(0) == KernelLock::Entry::own);
  CHECK(lock.is_held_by(0));
  CHECK_FALSE(lock.is_held_by(1));
  lock.call(1);
  lock.call(1);
  lock.call(2); // it looks itself
  CHECK(count.interrupted == std::vector<unsigned>{1});
  CHECK(lock.is_called(2));
  CHECK_FALSE(lock.may_halt(2));
  lock.is_awake(2);
  lock.leave(0);
  CHECK(enter(2) == KernelLock::Entry::called);
  CHECK_FALSE(lock.is_called(2));
  lock.rest(2);
  CHECK(lock.may_halt(2));
  CHECK(enter(0) == KernelLock::Entry::own);
  lock.call(2);
  CHECK(count.interrupted == std::vector<unsigned>{1, 2});
  lock.leave(0);
}

TEST_CASE("whoever comes into the kernel behind a stop has to forget, once") {
  Count count;
  KernelLock lock(count, 3);
  const auto visit = [&](unsigned vcpu) {
    static_cast<void>(lock.enter(vcpu, Yield{}));
    lock.rest(vcpu);
  };
  static_cast<void>(lock.enter(0, Yield{}));
  lock.stop_others(0, Yield{}); // the others have yet to begin
  lock.stop_others(0, Yield{});
  lock.rest(0);
  visit(1);
  visit(1);
  visit(0); // has done it itself
  visit(2);
  CHECK(count.forgot == std::vector<unsigned>{1, 2});
}

TEST_CASE("who has not come into the kernel since a stop is known, and called") {
  Count count;
  KernelLock lock(count, 3);
  const auto visit = [&](unsigned vcpu) {
    static_cast<void>(lock.enter(vcpu, Yield{}));
    lock.rest(vcpu);
  };
  visit(1);
  CHECK(lock.may_halt(1));
  static_cast<void>(lock.enter(0, Yield{}));
  CHECK(lock.forgotten() == lock.stops());
  lock.stop_others(0, Yield{});
  CHECK(lock.forgotten() == lock.stops() - 1);
  lock.call_late_ones(0);
  CHECK(count.interrupted == std::vector<unsigned>{1}); // the third has yet to begin
  lock.rest(0);
  visit(1);
  visit(2);
  static_cast<void>(lock.enter(0, Yield{}));
  CHECK(lock.forgotten() == lock.stops());
  lock.call_late_ones(0);
  CHECK(count.interrupted == std::vector<unsigned>{1});
  lock.leave(0);
}

TEST_CASE("one vCPU alone has nobody to call, to wait for, or to interrupt") {
  Count count;
  KernelLock lock(count, 1);
  CHECK(lock.enter(0, Yield{}) == KernelLock::Entry::own);
  CHECK(lock.is_held_by(0));
  lock.stop_others(0, Yield{});
  lock.leave(0);
  CHECK_FALSE(lock.is_held_by(0));
  CHECK(count.interrupted.empty());
  CHECK(count.forgot.empty());
}

} // namespace
