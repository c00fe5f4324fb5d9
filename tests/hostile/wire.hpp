// SPDX-License-Identifier: MIT
// The guest's end of a report channel without any of its manners: an attack writes what it likes.
// The kernel's own reporter must be off (--report off), or both would use the rings.
#pragma once

#include <cstdint>

#include "guest/workload.hpp"
#include "shared/report_channel.hpp"

namespace hostile {

class Wire {
 public:
  Wire(guest::Env& env, unsigned channel);

  [[nodiscard]] abi::ChannelRings& rings() { return channel_.rings; }
  [[nodiscard]] abi::RangeDescriptor& descriptor(unsigned page, unsigned index) {
    return channel_.pages[page].ranges[index];
  }

  // A descriptor as the host will find it.
  void describe(unsigned page, unsigned index, abi::RangeDescriptor descriptor);
  // Puts `entry` at the tail, advances it and rings if the host wants it.
  void submit(const abi::SubmissionEntry& entry);
  // Rings whether the host wants it or not.
  void ring() const;
  // Until the host has looked at every submission, which is not to say that it has answered.
  void await_taken();
  // The next answer, consumed. Ends the guest with exit status 1 when none comes.
  abi::CompletionEntry await_answer();

  // A batch of one range, submitted and answered: its outcome.
  abi::Outcome hint(abi::RangeDescriptor descriptor);

 private:
  // Ends the guest when `deadline` is over.
  void wait_a_little(std::uint64_t deadline, const char* what);

  guest::Env& env_;
  unsigned number_;
  abi::Channel& channel_;
  std::uint64_t next_id_ = 1;
};

} // namespace hostile
