// SPDX-License-Identifier: MIT
// Debug aid (--oracle): catches a guest that uses memory which it has reported.
//
//   submitted and not yet answered   From the moment the host takes a batch until just before its
//                                    answer is published, what it names is mapped without any
//                                    access. A vCPU that touches it leaves KVM_RUN with EFAULT, its
//                                    RIP still at the instruction. Never answered: to the end.
//   answered as discarded            What becomes resident again though the guest's own tags say
//                                    that it was not allocated since (shared/frame_tag.hpp, audit
//                                    bit) is counted. Looked for in the passes of a FrameScan, so a
//                                    use is seen only if it is still there at the next pass;
//                                    reads map the zero page and are not seen.
//
// With huge pages behind RAM a touch makes 2 MiB resident; such an area counts only if none of it
// was allocated. Watches all batches of a guest; among several observers the first (HintObservers).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shared/boot_info.hpp"
#include "vmm/base/result.hpp"
#include "vmm/hints/batch_validator.hpp"
#include "vmm/hints/hint_observer.hpp"
#include "vmm/hints/range_coalescer.hpp"
#include "vmm/memory/frame_scan.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/memory/refault_watch.hpp"

namespace vmm {

struct OracleTotals {
  std::uint64_t guarded_bytes = 0;    // of hints that were without access while in flight
  std::uint64_t unguarded_ranges = 0; // for which the host had no mapping to spare, or too coarse
  std::uint64_t touched_bytes = 0;    // discarded, resident again, not allocated in between
  std::uint64_t scans = 0;            // passes looked at; 0: this kernel has none
};

class Oracle final : public HintObserver, public FrameWatcher {
 public:
  // Told when the host cannot give the guest its memory back: the run must end.
  using Failed = std::function<void(const std::string& what)>;

  // `memory` outlives the oracle.
  Oracle(const GuestMemory& memory, Failed failed);

  // After the hello was accepted, before the first batch. Environment error when the guest's tags
  // lie in memory that it may report: the host could not read them.
  Result<void> configure(const abi::GuestHello& hello);

  // Text for a vCPU's access that the host's mapping forbade, at `gpa` if KVM has told.
  [[nodiscard]] std::string describe_access(std::optional<abi::Gpa> gpa) const;
  // Guest memory [gpa, gpa + bytes.size()), for the host's own reading; empty when a part of it is
  // in flight.
  [[nodiscard]] std::optional<std::string> copy(abi::Gpa gpa,
                                                std::span<const std::byte> bytes) const;
  [[nodiscard]] OracleTotals totals() const;

  // The guest has ended: nothing is out of reach any more, for who looks at what is left of it.
  void end();

  void on_taken(const Batch& batch) override;
  void on_answer(const Batch& batch) override;

  // Looks for memory that was touched after its answer, in every pass.
  bool pass_begins(std::uint64_t now_ns, Occasion occasion) override;
  void resident(abi::Gpa start, std::uint64_t bytes) override;
  void pass_ends(Ended how) override;

 private:
  enum class Access : std::uint8_t { none, all };

  void guard_locked(const Batch& batch, Access access);
  void mark_locked(abi::Gpa start, std::uint64_t bytes, Access access);
  [[nodiscard]] bool in_flight_locked(abi::Gpa start, std::uint64_t bytes) const;
  [[nodiscard]] bool allocated_since(abi::Gpa start, std::uint64_t bytes) const;

  const GuestMemory& memory_;
  const Failed failed_;
  abi::Gpa tags_;       // where the guest says they are; fixed by configure()
  abi::Pfn tags_first_; // likewise

  mutable std::mutex mutex_; // guards everything below; taken inside a port's
  BatchValidator validator_;
  CheckedBatch checked_;
  CoalescedRuns runs_;
  std::vector<bool> in_flight_; // by frame
  RefaultWatch answered_;
  OracleTotals totals_;
  std::uint64_t counted_end_ = 0; // of the grain that was looked at last in this pass

  std::unique_lock<std::mutex> pass_lock_; // of mutex_, held through a pass
};

} // namespace vmm
