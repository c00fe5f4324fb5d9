// SPDX-License-Identifier: MIT
// Hypercall traces made by hand, as the bytes of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "shared/abi_version.hpp"
#include "shared/report_channel.hpp"
#include "shared/trace_record.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace test_support {

inline constexpr std::uint64_t trace_ram_bytes = std::uint64_t{64} << 20;

inline abi::TraceHeader trace_header(abi::TraceLevel level) {
  abi::TraceHeader header;
  header.header_bytes = abi::trace_header_bytes;
  header.tsc_khz = 1'000'000;
  header.level = level;
  header.vcpus = 1;
  header.ram_bytes = trace_ram_bytes;
  header.finished = 1;
  std::memcpy(header.backing, "4k", 3);
  std::memcpy(header.discard, "dontneed", 9);
  header.event_count = static_cast<std::uint32_t>(abi::trace_event_texts.size());
  for (std::size_t index = 0; index < abi::trace_event_texts.size(); ++index) {
    const abi::TraceEventText& text = abi::trace_event_texts[index];
    header.events[index].event = text.event;
    std::strncpy(header.events[index].name, text.name, sizeof header.events[index].name - 1);
    std::strncpy(header.events[index].address, text.address, 15);
    std::strncpy(header.events[index].value, text.value, 15);
    std::strncpy(header.events[index].count, text.count, 15);
    std::strncpy(header.events[index].order, text.order, 7);
    std::strncpy(header.events[index].detail, text.detail, 15);
  }
  return header;
}

inline void renumber(std::vector<abi::TraceRecord>& records) {
  for (std::size_t index = 0; index < records.size(); ++index) {
    records[index].sequence = index + 1;
  }
}

// header.claimed is set; sequences are as the records have them.
inline std::vector<std::byte> trace_bytes(abi::TraceHeader header,
                                          std::span<const abi::TraceRecord> records) {
  header.claimed = records.size();
  std::vector<std::byte> bytes(header.header_bytes + records.size_bytes());
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!records.empty()) {
    std::memcpy(bytes.data() + header.header_bytes, records.data(), records.size_bytes());
  }
  return bytes;
}

// Records of an orderly run of level `all`.
class TraceBuilder {
 public:
  TraceBuilder() {
    add({.value = trace_ram_bytes, .count = 1, .event = abi::TraceEvent::boot});
    add({.address = 4 << 20,
         .value = abi::feature_report | abi::feature_trace,
         .event = abi::TraceEvent::negotiated});
    add({.event = abi::TraceEvent::workload_begin});
  }

  void add(abi::TraceRecord record) {
    record.time_ns = records_.size() * 1000;
    records_.push_back(record);
  }
  void block(abi::TraceEvent event, std::uint64_t gpa, std::uint8_t order,
             std::uint32_t reported = 0) {
    add({.address = gpa, .value = 0x400100, .count = reported, .event = event, .order = order});
  }

  // One batch of uniform hints through its whole life.
  void batch(std::uint64_t id, std::uint8_t order, std::span<const std::uint64_t> blocks,
             abi::Outcome outcome = abi::Outcome::discarded) {
    const auto count = static_cast<std::uint32_t>(blocks.size());
    add({.address = 0x400200, .value = id, .count = count, .event = abi::TraceEvent::submit});
    add({.event = abi::TraceEvent::doorbell});
    add({.value = id, .count = count, .event = abi::TraceEvent::batch, .detail = 1});
    for (std::uint32_t index = 0; index < count; ++index) {
      add({.address = blocks[index],
           .value = id,
           .count = index,
           .event = abi::TraceEvent::range,
           .order = order});
    }
    add({.address = count * abi::Order{order}.bytes(),
         .value = id,
         .count = count,
         .event = abi::TraceEvent::discard_begin});
    add({.value = id, .count = 1, .event = abi::TraceEvent::discard_end});
    for (std::uint32_t index = 0; index < count; ++index) {
      add({.address = blocks[index],
           .value = id,
           .count = index,
           .event = abi::TraceEvent::outcome,
           .order = order,
           .detail = abi::trace_detail(0, static_cast<std::uint8_t>(outcome))});
    }
    add({.address = 500, .value = id, .count = count, .event = abi::TraceEvent::answer});
    add({.value = id, .count = count, .event = abi::TraceEvent::drain});
  }

  // Closes the run.
  std::vector<abi::TraceRecord> finish() {
    add({.event = abi::TraceEvent::workload_end});
    add({.event = abi::TraceEvent::end, .detail = static_cast<std::uint8_t>(vmm::EndKind::exited)});
    renumber(records_);
    return records_;
  }

 private:
  std::vector<abi::TraceRecord> records_;
};

// Blocks allocated, freed, hinted, allocated again from what was reported, freed and hinted again:
// every kind of record in a place where it matters.
inline std::vector<abi::TraceRecord> orderly_run(unsigned rounds = 2) {
  TraceBuilder trace;
  const std::vector<std::uint64_t> blocks{8 << 20, 10 << 20, 12 << 20};
  std::uint64_t id = 1;
  for (unsigned round = 0; round < rounds; ++round) {
    for (const std::uint64_t gpa : blocks) {
      trace.block(abi::TraceEvent::allocate, gpa, 9, round == 0 ? 0 : 512);
    }
    for (const std::uint64_t gpa : blocks) {
      trace.block(abi::TraceEvent::free, gpa, 9);
    }
    trace.batch(id++, 9, blocks);
  }
  return trace.finish();
}

} // namespace test_support
