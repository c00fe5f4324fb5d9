// SPDX-License-Identifier: MIT
// Checks a recording (shared/page_trace.hpp is its format) as a whole, so that a guest replays it
// without checking anything. Pure: over bytes that somebody else read.
//
// Errors name the file, the event and its byte offset in what was decompressed. What is checked:
// magic; exactly as many bytes as the header's event count asks for; orders at most
// abi::max_order; ids below the event count; a block allocated once, freed at most once, not
// before its allocation, with the order of its allocation.
// What is not: the header's peak_pages. It is the recorder's opinion and nothing depends on it;
// the summary carries the peak that the events have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "shared/page_trace.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

struct RecordingSummary {
  std::uint64_t events = 0;
  std::uint64_t blocks = 0;     // highest id + 1
  std::uint64_t peak_pages = 0; // of 4 KiB, live at once
  std::uint64_t live_at_end_pages = 0;
  std::uint64_t duration_us = 0; // sum of the recorded pauses
};

// Bytes of a whole recording with that many events.
constexpr std::uint64_t recording_bytes(std::uint64_t events) {
  return sizeof(abi::PageTraceHeader) + events * sizeof(abi::PageTraceEvent);
}

// `bytes` begins with a header; more may follow. `name` is the file for messages.
Result<abi::PageTraceHeader> parse_recording_header(std::span<const std::byte> bytes,
                                                    std::string_view name);

// `bytes` is the whole recording. Takes one byte of memory per block.
Result<RecordingSummary> validate_recording(std::span<const std::byte> bytes,
                                            std::string_view name);

} // namespace vmm
