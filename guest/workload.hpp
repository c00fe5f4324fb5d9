// SPDX-License-Identifier: MIT
// The API that workloads are written against. guest/README.md has a 20-line example.
//
// A workload is a function int(Env&), registered with EBB_WORKLOAD in a file of its own under
// guest/workloads/. Its return value is the guest's exit status: 0 for success, 1 for content that
// was lost.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/mm/backoff.hpp"
#include "guest/mm/buddy/block_mover.hpp"
#include "guest/parameter.hpp"
#include "guest/runtime/print.hpp"
#include "shared/address.hpp"

namespace guest {

class Kernel;

// Small pseudo-random generator (xorshift64*): fast, seeded, not for secrets.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed != 0 ? seed : 0x9e3779b97f4a7c15) {}
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  // Uniform enough in [0, limit); limit must not be 0.
  std::uint64_t below(std::uint64_t limit) { return (next() >> 11) % limit; }

 private:
  std::uint64_t state_;
};

class Env {
 public:
  explicit Env(Kernel& kernel) : kernel_(kernel) {}

  // A block of 2^order pages, aligned to its size, content undefined; nullptr when memory is
  // exhausted even after waiting for hints in flight.
  [[nodiscard]] void* allocate_pages(abi::Order order);
  // The same with every byte zero. Cheaper than writing the zeroes where the host has discarded
  // what was there.
  [[nodiscard]] void* allocate_zeroed_pages(abi::Order order);
  // Gives a block back. Panics on a block that is not allocated or was allocated with another
  // order.
  void free_pages(void* block, abi::Order order);

  // Lets an allocated block be moved until it is freed, while there is a Moving below. The cookie
  // is what its owner knows it by; BlockMover::move() may come at once. Call it before anybody
  // else may free the block.
  void make_movable(const void* block, abi::Order order, std::uint32_t cookie);

  // Nanoseconds since boot.
  [[nodiscard]] std::uint64_t now_ns() const;
  // Lets the vCPU idle until now_ns() >= deadline. Free memory is reported meanwhile.
  void sleep_until_ns(std::uint64_t deadline);

  // Moves what may be moved, reports everything and waits, for a bounded time, for the answers. The
  // kernel does so at the workload's end, too.
  void settle();

  // For a loop that waits for another vCPU: call the object between looks. It spins for a moment,
  // then lets other threads of the host run.
  [[nodiscard]] mm::Backoff backoff() const;

  // The value of --arg key=value, or `fallback` when absent. Values of declared parameters are
  // known to be good; any other that is not of the kind asked for ends the guest with a message and
  // exit status 2.
  [[nodiscard]] std::string_view arg(std::string_view key, std::string_view fallback) const;
  [[nodiscard]] std::uint64_t arg_number(std::string_view key, std::uint64_t fallback) const;
  // Bytes, with an optional suffix K, M, G or T.
  [[nodiscard]] std::uint64_t arg_bytes(std::string_view key, std::uint64_t fallback) const;
  // A time with its unit: us, ms or s; at most a year.
  [[nodiscard]] std::uint64_t arg_duration_ns(std::string_view key, std::uint64_t fallback) const;

  // Calls visit(key, value) for each argument, in their order.
  template <typename Visit> void for_each_arg(Visit visit) const {
    for_each_arg([](void* context, std::string_view key,
                    std::string_view value) { (*static_cast<Visit*>(context))(key, value); },
                 &visit);
  }

  // The file given with --input, read-only; empty when there is none.
  [[nodiscard]] std::span<const std::byte> input() const;
  [[nodiscard]] std::uint64_t seed() const;
  // Minor version of the ABI that the host speaks.
  [[nodiscard]] unsigned host_minor() const;
  [[nodiscard]] unsigned vcpus() const;
  [[nodiscard]] std::uint64_t ram_bytes() const;

  // Calls job(n) on every vCPU n, this one included, and returns when all have returned. From
  // vCPU 0, not from within a job.
  template <typename Job> void run_on_all(Job job) {
    run_on_all_vcpus([](void* context, unsigned vcpu) { (*static_cast<Job*>(context))(vcpu); },
                     &job);
  }

  // Progress, shown by the host: total first when it is known.
  void set_events_total(std::uint64_t total);
  void count_events(std::uint64_t count);
  // A workload with a schedule was late by so much, or on time by 0.
  void tell_behind_ns(std::uint64_t late_ns);
  // Pages whose content was checked and found right.
  void count_verified_pages(std::uint64_t count);

  // Ends the guest with exit status 2: the workload was asked for something it cannot do.
  template <typename... Args>
  [[noreturn]] void usage_error(fmt::format_string<Args...> format, const Args&... args) {
    ::guest::print(format, args...);
    ::guest::print("\n");
    exit(2);
  }
  // Ends the guest at once, without settling. A status beyond 255 ends the vmm with 255.
  [[noreturn]] void exit(int status);

 private:
  friend class Moving;
  void for_each_arg(void (*visit)(void* context, std::string_view key, std::string_view value),
                    void* context) const;
  [[nodiscard]] std::uint64_t parsed(std::string_view key, std::uint64_t fallback,
                                     std::optional<std::uint64_t> (*parse)(std::string_view),
                                     std::string_view what) const;
  void set_mover(mm::BlockMover* mover);
  void run_on_all_vcpus(void (*job)(void* context, unsigned vcpu), void* context);

  Kernel& kernel_;
};

// While it lives, idle vCPUs have `mover` move movable blocks, so that what few of them hold on to
// can go back to the host; at its end, what can be moved then is moved. One at a time.
class Moving {
 public:
  Moving(Env& env, mm::BlockMover& mover) : env_(env) { env_.set_mover(&mover); }
  Moving(const Moving&) = delete;
  Moving& operator=(const Moving&) = delete;
  ~Moving() {
    env_.settle();
    env_.set_mover(nullptr);
  }

 private:
  Env& env_;
};

using WorkloadMain = int (*)(Env&);

struct WorkloadEntry {
  const char* name;
  const char* summary; // one line, with the arguments it takes
  WorkloadMain main;
  std::span<const Parameter> parameters;
};

// For EBB_WORKLOAD.
template <typename... Each>
consteval std::array<Parameter, sizeof...(Each)> parameters(Each... each) {
  return {each...};
}

} // namespace guest

// Registers `function` as workload `name` (an identifier); behind it come its parameters. The
// linker script gathers pointers to the entries, because the compiler may align the entries
// themselves beyond their size.
#define EBB_WORKLOAD(name, summary, function, ...)                                                 \
  static constexpr auto ebb_parameters_##name = ::guest::parameters(__VA_ARGS__);                  \
  static constexpr ::guest::WorkloadEntry ebb_workload_##name = {#name, summary, function,         \
                                                                 ebb_parameters_##name};           \
  [[gnu::section(".ebb_workloads." #name),                                                         \
    gnu::used]] static constinit const ::guest::WorkloadEntry* const ebb_workload_pointer_##name = \
      &ebb_workload_##name
