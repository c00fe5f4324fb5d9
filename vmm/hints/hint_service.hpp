// SPDX-License-Identifier: MIT
// The host's side of all report channels of one guest: takes batches, has them discarded and
// answers them, on the vCPU thread (sync) or on worker threads (async, poll).
//
//   doorbell exit ---serve()--> |
//   eventfd, ring watching ---> | HintWorkers ---> HintPort::take()
//                                                    BatchProcessor::process()
//                                                  HintPort::answer() ---> interrupt
//
// The service is synchronous until the guest has accepted feature_async; a guest that does not is
// served synchronously whatever was asked for. An interceptor, if there is one, has every batch
// between its taking and its answer. Lock order: a VcpuServer's mutex, then a port's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "shared/boot_info.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/hints/batch_interceptor.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/hint_events.hpp"
#include "vmm/hints/hint_port.hpp"
#include "vmm/hints/hint_totals.hpp"
#include "vmm/hints/hint_workers.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/settings/hint_check.hpp"
#include "vmm/settings/host_mode.hpp"

namespace vmm {

struct HintServiceOptions {
  DiscardOptions discard{};
  HostMode mode = HostMode::sync;
  unsigned workers = 1; // 1...max_host_workers; async and poll
};

class HintService {
 public:
  // `memory`, `calls` and `observer` outlive the service. Until configure() every hint is answered
  // as failed. Null: nobody intercepts batches, or watches.
  static Result<std::unique_ptr<HintService>>
  create(const GuestMemory& memory, unsigned channels, const HintServiceOptions& options,
         DiscardCalls& calls, HintEvents events,
         std::unique_ptr<BatchInterceptor> interceptor = nullptr, HintObserver* observer = nullptr);
  HintService(const HintService&) = delete;
  HintService& operator=(const HintService&) = delete;
  ~HintService() { stop(); }

  // Makes all threads that may be needed; they wait until configure() knows. Returns how many.
  // Once, before configure(). Fewer workers than asked for is not an error.
  [[nodiscard]] Result<unsigned> make_threads(const ThreadStart& on_start);

  // After the hello was accepted, once: hints are taken from [managed_start, end of RAM), and
  // checked against the guest's frame tags if asked for. With feature_async the wanted mode is in
  // force, and its threads run, when this returns; without such threads the service stays
  // synchronous. Without feature_report nothing changes.
  void configure(const abi::GuestHello& hello, HintCheck check);

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
  // What serves a channel on vCPU threads, one at a time.
  struct VcpuServer {
    explicit VcpuServer(DiscardEngine engine) : processor({}, std::move(engine)) {}
    std::mutex mutex;
    BatchProcessor processor;
  };

  HintService(const GuestMemory& memory, const HintServiceOptions& options, HintEvents events,
              std::unique_ptr<BatchInterceptor> interceptor, HintObserver* observer)
      : memory_(memory), options_(options), events_(std::move(events)),
        interceptor_(std::move(interceptor)), observer_(observer) {}

  Result<void> open(unsigned channels, DiscardCalls& calls);
  void hand_out_observer() const;
  bool serve_one(HintPort& port, BatchProcessor& processor);
  void interrupt(const HintPort& port) const;

  const GuestMemory& memory_;
  const HintServiceOptions options_;
  const HintEvents events_;
  const std::unique_ptr<BatchInterceptor> interceptor_; // null on an honest host
  HintObserver* const observer_;                        // null: nobody watches
  HintWorkers::Ports ports_;
  std::vector<std::unique_ptr<VcpuServer>> vcpu_servers_;          // one per channel
  std::vector<std::unique_ptr<BatchProcessor>> worker_processors_; // one per worker
  std::atomic<HostMode> mode_{HostMode::sync};
  std::unique_ptr<HintWorkers> workers_; // null unless asked for; last: its threads use the others
};

} // namespace vmm
