// SPDX-License-Identifier: MIT
#include "vmm/repetition.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <new>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

// Seen by all processes.
struct Shared {
  std::atomic<int> begun{0};
};

Shared& shared() {
  void* const page =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  return *new (page) Shared();
}

RunStats run_with(std::uint64_t batches) {
  RunStats stats;
  stats.hints.batches = batches;
  return stats;
}

int told(const UniqueFd& results, const RunStats& stats) {
  return hand_over(RepeatedRun::of(stats), results) ? 0 : 1;
}

} // namespace

TEST_CASE("each run is a process, and what it tells arrives whole") {
  Shared& seen = shared();
  const pid_t self = ::getpid();
  const auto repetition = repeat(5, [&](const UniqueFd& results) {
    RunStats stats = run_with(static_cast<std::uint64_t>(++seen.begun));
    stats.workload = std::string(200'000, 'w'); // more than a pipe holds
    return ::getpid() != self ? told(results, stats) : 1;
  });
  REQUIRE(repetition);
  CHECK(repetition->exit_status == 0);
  REQUIRE(repetition->runs.size() == 5);
  for (std::size_t index = 0; index < 5; ++index) {
    RunStats stats = run_with(index + 1);
    stats.workload = std::string(200'000, 'w');
    CHECK(repetition->runs[index].stats == RepeatedRun::of(stats).stats);
  }
}

TEST_CASE("a run that fails is the last") {
  Shared& seen = shared();
  const auto repetition = repeat(5, [&](const UniqueFd& results) {
    const int number = ++seen.begun;
    static_cast<void>(told(results, run_with(1)));
    return number == 3 ? 7 : 0;
  });
  REQUIRE(repetition);
  CHECK(repetition->exit_status == 7);
  CHECK(repetition->runs.size() == 2);
  CHECK(seen.begun == 3);
}

TEST_CASE("one that tells nothing, or dies, is no run") {
  const auto silent = repeat(3, [](const UniqueFd&) { return 0; });
  REQUIRE(silent);
  CHECK(silent->runs.empty());
  CHECK(silent->exit_status == 4);
  const auto dead = repeat(3, [](const UniqueFd&) {
    ::raise(SIGKILL);
    return 0;
  });
  REQUIRE(dead);
  CHECK(dead->runs.empty());
  CHECK(dead->exit_status == 128 + SIGKILL);
}

TEST_CASE("a signal reaches the run, and no other begins") {
  Shared& seen = shared();
  const auto repetition = repeat(5, [&](const UniqueFd& results) {
    sigset_t none{};
    sigset_t before{};
    ::pthread_sigmask(SIG_BLOCK, &none, &before);
    if (sigismember(&before, SIGTERM) != 0) {
      return 99; // it could not be ended
    }
    ++seen.begun;
    ::signal(SIGTERM, SIG_DFL); // not the test runner's
    ::kill(::getppid(), SIGTERM);
    static_cast<void>(results);
    while (true) {
      ::pause(); // until it is handed on
    }
  });
  REQUIRE(repetition);
  CHECK(repetition->exit_status == 128 + SIGTERM);
  CHECK(seen.begun == 1);
  sigset_t set{};
  sigset_t now{};
  ::pthread_sigmask(SIG_BLOCK, &set, &now);
  CHECK(sigismember(&now, SIGTERM) == 0); // as it was
}
