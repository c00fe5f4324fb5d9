// SPDX-License-Identifier: MIT
// The threads of an asynchronous host: they wait for doorbells, or watch the rings, and have
// batches served. They know when to serve, not how.
//
// No wake-up is lost:
//   async  A doorbell makes the channel's eventfd readable. A worker empties it before it takes
//          batches, so a batch that it does not find was submitted later, and rings again.
//   poll   While any worker is awake, no_doorbell is set on all channels. The last worker to fall
//          asleep clears it, then looks at every ring once more, then waits for the eventfds. The
//          guest stores submit_tail, then loads no_doorbell; the worker stores no_doorbell, then
//          loads submit_tail; all four sequentially consistent, so one of the two sees the other:
//          either the worker finds the batch, or the guest rings.
// In both modes a worker that leaves batches behind (there may be several, and its share of one
// visit is bounded) writes the hand-off eventfd, which sends a worker over all channels.
//
// A guest that rings without having anything to say keeps the workers busy at little cost of its
// own. After fruitless_limit of such doorbells in a row a worker backs off before it looks again,
// until there is a batch: what remains is a few percent of a CPU, and a wait of back_off_ns at most
// for a guest that has only itself to blame.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/hints/hint_port.hpp"
#include "vmm/settings/host_mode.hpp"

namespace vmm {

class HintWorkers {
 public:
  using Ports = std::vector<std::unique_ptr<HintPort>>;
  // Takes and serves one batch of a channel; false if there was none. Called by worker threads,
  // each with its own number.
  using Serve = std::function<bool(unsigned worker, HintPort& port)>;

  // A polling worker that found nothing for this long goes to sleep.
  static constexpr std::uint64_t spin_ns = 200'000;

  static constexpr unsigned fruitless_limit = 64;
  static constexpr std::uint64_t back_off_ns = 1'000'000;

  // `ports` outlives the workers. 1...max_host_workers threads.
  static Result<std::unique_ptr<HintWorkers>> create(const Ports& ports, unsigned count,
                                                     Serve serve);
  HintWorkers(const HintWorkers&) = delete;
  HintWorkers& operator=(const HintWorkers&) = delete;
  ~HintWorkers() { stop(); }

  // Makes the threads, which wait for start(); once. Returns how many there are: fewer than asked
  // for, where the host has no more to give, is not an error.
  [[nodiscard]] unsigned make_threads(const ThreadStart& on_start);
  // Has the threads work; once. `mode` is async or poll. False if there is not even one.
  [[nodiscard]] bool start(HostMode mode);
  // Returns when all threads have finished the batch they were at. Any number of times.
  void stop();

  // Has a worker look at all channels.
  void hand_off();

  // Times that a polling worker went to sleep.
  [[nodiscard]] std::uint64_t sleeps() const { return sleeps_.load(std::memory_order_relaxed); }
  // Times that a worker backed off.
  [[nodiscard]] std::uint64_t back_offs() const {
    return back_offs_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] unsigned count() const { return count_; }

 private:
  enum class Wake : std::uint8_t { stop, work };
  enum class Idle : std::uint8_t { may_sleep, work_left };

  HintWorkers(const Ports& ports, unsigned count, Serve serve)
      : ports_(ports), count_(count), serve_(std::move(serve)) {}

  Result<void> open();
  Result<void> watch(int fd, std::uint64_t tag);

  void run_async(unsigned worker, const std::stop_token& stop);
  void run_poll(unsigned worker, const std::stop_token& stop);
  Wake wait_and_serve(unsigned worker, const std::stop_token& stop);
  void back_off_unless(bool served);
  bool serve_port(unsigned worker, HintPort& port, const std::stop_token& stop);
  bool serve_all(unsigned worker, const std::stop_token& stop);
  void begin_polling();
  Idle end_polling();

  const Ports& ports_;
  const unsigned count_;
  const Serve serve_;
  UniqueFd epoll_;
  UniqueFd stop_;
  UniqueFd hand_off_;
  std::mutex polling_mutex_; // guards polling_ and the change of no_doorbell that goes with it
  unsigned polling_ = 0;     // workers that watch the rings
  std::atomic<std::uint64_t> sleeps_{0};
  std::atomic<unsigned> fruitless_{0}; // wakes in a row, of all workers, that found nothing
  std::atomic<std::uint64_t> back_offs_{0};
  HostMode mode_ = HostMode::async; // written before the gate opens
  StartGate gate_;
  std::vector<Thread> threads_; // last: they use the others
};

} // namespace vmm
