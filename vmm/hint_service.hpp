// SPDX-License-Identifier: MIT
// The host's side of all report channels of one guest: whoever learns that a channel has
// submissions calls serve(). Today that is the vCPU thread in the doorbell's exit, so the answer
// is there before the guest goes on (a synchronous host).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "shared/boot_info.hpp"
#include "vmm/batch_processor.hpp"
#include "vmm/channel_server.hpp"
#include "vmm/config.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/result.hpp"

namespace vmm {

// Sums over all channels.
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
  std::uint64_t host_ns = 0;         // in the discarding system calls
  std::uint64_t protocol_errors = 0; // ring overruns, bad submissions, dropped answers
};

class HintService {
 public:
  // `memory` and `calls` outlive the service. Until configure() every hint is answered as failed.
  static Result<HintService> create(const GuestMemory& memory, unsigned channels,
                                    const DiscardOptions& options, DiscardCalls& calls);

  // After the hello was accepted: hints are taken from [managed_start, end of RAM), and checked
  // against the guest's frame tags if asked for.
  void configure(const abi::GuestHello& hello, HintCheck check);

  // Before the guest runs; the observer outlives the service.
  void set_observer(HintObserver& observer);

  // Serves what is submitted on `channel`, which may be any number. Any thread; calls for one
  // channel take turns. Returns the hint check's first objection, once.
  [[nodiscard]] std::optional<HintViolation> serve(std::uint32_t channel);

  // Any thread, at any time.
  [[nodiscard]] HintTotals totals() const;

 private:
  struct Port {
    Port(abi::Channel& channel, DiscardEngine engine)
        : server(channel), processor(ManagedRange{}, std::move(engine)) {}
    std::mutex mutex; // taken by serve()
    ChannelServer server;
    BatchProcessor processor;
    bool violation_told = false;
  };

  explicit HintService(const GuestMemory& memory) : memory_(&memory) {}

  const GuestMemory* memory_;
  std::vector<std::unique_ptr<Port>> ports_;
};

} // namespace vmm
