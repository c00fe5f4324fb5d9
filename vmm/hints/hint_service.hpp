// SPDX-License-Identifier: MIT
// The host's side of all report channels of one guest: takes batches, has them discarded and
// answers them, on the vCPU thread (sync) or on worker threads (async, poll), honestly or as a
// fault plan says.
//
//   doorbell exit --serve()--> |                                     | --> answer, interrupt
//   eventfd, ring watching --> | HintWorkers --> HintPort --> FaultyProcessor
//                              |             \-> DelayQueue (postponed answers)
//
// The service is synchronous until the guest has accepted feature_async; a guest that does not is
// served synchronously whatever was asked for. Lock order: a seat's mutex, then a port's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "shared/boot_info.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread_start.hpp"
#include "vmm/hints/delay_queue.hpp"
#include "vmm/hints/faulty_processor.hpp"
#include "vmm/hints/hint_port.hpp"
#include "vmm/hints/hint_workers.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/settings/host_mode.hpp"

namespace vmm {

// Sums over all channels, and each channel's own.
struct HintTotals {
  std::uint64_t batches = 0;
  std::uint64_t ranges = 0; // hints, without spans
  std::uint64_t bytes = 0;  // of accepted hints
  std::uint64_t discarded_bytes = 0;
  std::uint64_t declined_bytes = 0;
  std::uint64_t failed_ranges = 0; // not accepted, or answered so because the batch was bad
  std::uint64_t span_extra_bytes = 0;
  std::uint64_t lazily_freed_bytes = 0;
  std::uint64_t discard_calls = 0;
  std::uint64_t discard_retries = 0;  // of these: again, after EINTR or EAGAIN
  std::uint64_t partial_discards = 0; // vectored calls that did only a part
  std::uint64_t failed_discards = 0;  // accepted hints declined because the host's call failed
  std::uint64_t host_ns = 0;          // in the discarding system calls
  std::uint64_t protocol_errors = 0;  // ring overruns, bad or excess submissions, lost answers
  std::uint64_t doorbells = 0;        // that reached the host: exits, or wake-ups of a worker
  std::uint64_t doorbells_suppressed = 0;
  std::uint64_t interrupts = 0;
  std::uint64_t worker_sleeps = 0; // of polling workers
  std::uint64_t worker_naps = 0;   // after many doorbells for nothing
  FaultCounters faults;
  std::uint64_t late_discards = 0; // repeated discards of batches that are never answered
  std::vector<PortTotals> channels;
};

struct HintServiceOptions {
  DiscardOptions discard{};
  HostMode mode = HostMode::sync;
  unsigned workers = 1; // 1...max_host_workers; async and poll
  FaultOptions faults{};
  std::uint64_t fault_seed = 1;
  // Readable from the guest's end on: no vCPU thread waits any longer. Negative: there is none.
  int stop_fd = -1;
};

// Called from whichever thread it happens on. Each may be empty.
struct HintEvents {
  // The guest asked for an interrupt at the channel's next answer, and it is there.
  std::function<void(unsigned channel)> interrupt;
  // The hint check's first objection on a thread that is not in serve().
  std::function<void(const HintViolation&)> violation;
  // A batch was taken and is about to be worked on, as its faults say, which may be changed. Holds
  // up this batch and, of a synchronous host, its channel, for as long as it likes.
  std::function<void(const Batch&, BatchFaults&)> taken;
};

class HintService {
 public:
  // `memory` and `calls` outlive the service. Until configure() every hint is answered as failed.
  static Result<std::unique_ptr<HintService>> create(const GuestMemory& memory, unsigned channels,
                                                     const HintServiceOptions& options,
                                                     DiscardCalls& calls, HintEvents events);
  HintService(const HintService&) = delete;
  HintService& operator=(const HintService&) = delete;
  ~HintService() { stop(); }

  // Makes the threads that configure() may need, so that it need not; they wait for it. Returns how
  // many. Once, before configure(). Fewer workers than wanted are no error.
  [[nodiscard]] Result<unsigned> prepare_threads(const ThreadStart& on_start);

  // After the hello was accepted, once: hints are taken from [managed_start, end of RAM), and
  // checked against the guest's frame tags if asked for. With feature_async the wanted mode is in
  // force, and its threads run, when this returns. Where the host has no thread to give for it, the
  // service stays synchronous. Without feature_report nothing changes. Environment error when a
  // fault plan cannot be carried out.
  Result<void> configure(const abi::GuestHello& hello, HintCheck check);

  // Before configure() and the first serve(); the observer outlives the service.
  void set_observer(HintObserver& observer);

  // The mode in force.
  [[nodiscard]] HostMode mode() const { return mode_.load(std::memory_order_acquire); }

  // The eventfd that is the doorbell of a channel in modes async and poll. To be connected to the
  // guest only once configure() has put one of them in force.
  [[nodiscard]] int doorbell_fd(unsigned channel) const { return ports_[channel]->doorbell_fd(); }

  // A doorbell that arrived as an exit, for any number of a channel. In mode sync serves what is
  // submitted, else passes it to the workers. Any thread; calls for one channel take turns.
  // Returns the hint check's first objection, once.
  [[nodiscard]] std::optional<HintViolation> serve(std::uint32_t channel);

  // Ends all threads; batches being worked on are finished and answered, postponed ones are left
  // without an answer. Nothing is served any more. Any number of times.
  void stop();

  // Any thread, at any time.
  [[nodiscard]] HintTotals totals() const;

 private:
  // What a vCPU thread in serve() works with.
  struct Seat {
    explicit Seat(DiscardEngine engine) : processor(std::move(engine)) {}
    std::mutex mutex;
    FaultyProcessor processor;
  };

  HintService(const GuestMemory& memory, const HintServiceOptions& options, HintEvents events)
      : memory_(memory), options_(options), events_(std::move(events)),
        plan_(options.faults, options.fault_seed) {}

  Result<void> open(unsigned channels, DiscardCalls& calls);
  // Whether answers may have to come later.
  [[nodiscard]] bool may_postpone() const { return plan_.any() || events_.taken; }
  bool serve_one(HintPort& port, FaultyProcessor& processor);
  void offer(HintPort& port, HeldBatch& held) const;
  void finish(HintPort& port, HeldBatch& held, FaultyProcessor& processor);
  void discard_late(HintPort& port, HeldBatch& held, std::uint64_t interval_ns);
  void tell_violation(FaultyProcessor& processor) const;
  void interrupt(const HintPort& port) const;
  void wait_on_vcpu_thread(std::uint64_t duration_ns) const;

  const GuestMemory& memory_;
  const HintServiceOptions options_;
  const HintEvents events_;
  const FaultPlan plan_;
  HintObserver* observer_ = nullptr; // null: nobody watches
  HintWorkers::Ports ports_;
  std::vector<std::unique_ptr<Seat>> seats_;                        // one per channel
  std::vector<std::unique_ptr<FaultyProcessor>> worker_processors_; // one per worker
  std::unique_ptr<FaultyProcessor> delayed_; // of delays_' thread: answers that come later
  std::unique_ptr<FaultyProcessor> dropped_; // the same thread: batches that are never answered
  std::atomic<std::uint64_t> late_discards_{0};
  std::atomic<HostMode> mode_{HostMode::sync};
  bool prepared_ = false;  // there are threads
  bool may_defer_ = false; // the guest takes late answers; set before any thread starts
  DelayQueue delays_;
  std::unique_ptr<HintWorkers> workers_; // last: its threads use the others
};

} // namespace vmm
