// SPDX-License-Identifier: MIT
// The gate against threads that act as vCPUs do: inside, they only come out when they are kicked.
#include "vmm/vcpu/vcpu_gate.hpp"

#include <atomic>
#include <csignal>
#include <deque>
#include <thread>

#include <doctest/doctest.h>

using vmm::VcpuGate;

namespace {

constexpr int kick_signal = SIGUSR1;

class Vcpus {
 public:
  explicit Vcpus(unsigned count) : gate_(count, kick_signal) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(kick_signal, &action, nullptr);
    for (unsigned index = 0; index < count; ++index) {
      flags_.emplace_back(0);
      work_.emplace_back(0);
    }
    for (unsigned index = 0; index < count; ++index) {
      threads_.emplace_back([this, index] { run(index); });
    }
  }
  ~Vcpus() {
    gate_.open_for_good();
    ended_ = true;
    for (std::uint8_t& flag : flags_) {
      std::atomic_ref(flag).store(1);
    }
    threads_.clear();
  }

  [[nodiscard]] VcpuGate& gate() { return gate_; }
  [[nodiscard]] std::uint64_t work() const {
    std::uint64_t sum = 0;
    for (const auto& work : work_) {
      sum += work.load();
    }
    return sum;
  }
  [[nodiscard]] unsigned inside() const { return inside_.load(); }

 private:
  // As VcpuRunner: the end is looked at after before_entry(), or a kick that enter() took back is
  // lost.
  void run(unsigned index) {
    while (!ended_) {
      static_cast<void>(gate_.before_entry(index, flags_[index]));
      ++inside_;
      while (!ended_ && std::atomic_ref(flags_[index]).load() == 0) {
        ++work_[index];
        std::this_thread::yield();
      }
      --inside_;
      gate_.after_exit(index);
    }
  }

  VcpuGate gate_;
  std::deque<std::uint8_t> flags_;
  std::deque<std::atomic<std::uint64_t>> work_;
  std::atomic<unsigned> inside_{0};
  std::atomic<bool> ended_{false};
  std::deque<std::jthread> threads_;
};

} // namespace

TEST_CASE("vcpu gate: closed, nobody is inside and nothing moves; open, everybody goes on") {
  Vcpus vcpus(4);
  for (int round = 0; round < 200; ++round) {
    vcpus.gate().close();
    CHECK(vcpus.inside() == 0);
    const std::uint64_t before = vcpus.work();
    std::this_thread::yield();
    CHECK(vcpus.work() == before);
    vcpus.gate().open();
    while (vcpus.work() == before) {
      std::this_thread::yield();
    }
  }
}

TEST_CASE("vcpu gate: open for good lets in who waits and is not closed again") {
  Vcpus vcpus(2);
  vcpus.gate().close();
  const std::uint64_t before = vcpus.work();
  std::jthread ender([&] { vcpus.gate().open_for_good(); });
  while (vcpus.work() == before) {
    std::this_thread::yield();
  }
  vcpus.gate().close();
  const std::uint64_t after = vcpus.work();
  while (vcpus.work() == after) {
    std::this_thread::yield();
  }
}
