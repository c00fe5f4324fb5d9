// SPDX-License-Identifier: MIT
// Reader for page traces: xz-compressed recordings of real page allocations (tests/traces).
//
// Little endian. Header: char magic[8] = "PGTRACE1", u32 events, u32 peak_pages. Then one u64 per
// event: bit 63 = 1 for a free; bits 62...56 order; bits 55...32 microseconds since the previous
// event, saturating; bits 31...0 block id. Ids are given in allocation order; each block is
// allocated once and freed at most once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <lzma.h>

namespace test_support {

struct PageTraceEvent {
  std::uint64_t bits = 0;

  [[nodiscard]] bool is_free() const { return (bits >> 63) != 0; }
  [[nodiscard]] unsigned order() const { return static_cast<unsigned>((bits >> 56) & 0x7f); }
  [[nodiscard]] std::uint64_t gap_us() const { return (bits >> 32) & 0xffffff; }
  [[nodiscard]] std::uint32_t block() const { return static_cast<std::uint32_t>(bits); }
};

struct PageTrace {
  std::uint32_t peak_pages = 0;
  std::uint32_t blocks = 0; // ids are below
  std::vector<PageTraceEvent> events;
};

inline std::vector<std::uint8_t> read_xz(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot open " + path.string());
  }
  const std::vector<std::uint8_t> packed(std::istreambuf_iterator<char>(file), {});
  std::vector<std::uint8_t> plain(packed.size() * 4 + 4096);
  std::size_t packed_at = 0;
  std::size_t plain_at = 0;
  std::uint64_t memory_limit = std::uint64_t{1} << 30;
  lzma_ret result = LZMA_BUF_ERROR;
  // The one-shot decoder leaves its positions alone when the output does not fit.
  while ((result = lzma_stream_buffer_decode(&memory_limit, 0, nullptr, packed.data(), &packed_at,
                                             packed.size(), plain.data(), &plain_at,
                                             plain.size())) == LZMA_BUF_ERROR &&
         plain.size() < (std::size_t{1} << 30)) {
    plain.resize(plain.size() * 2);
  }
  if (result != LZMA_OK) {
    throw std::runtime_error("not a valid xz file: " + path.string());
  }
  plain.resize(plain_at);
  return plain;
}

inline PageTrace read_page_trace(const std::filesystem::path& path) {
  constexpr std::size_t header_bytes = 16;
  const std::vector<std::uint8_t> bytes = read_xz(path);
  if (bytes.size() < header_bytes || std::memcmp(bytes.data(), "PGTRACE1", 8) != 0) {
    throw std::runtime_error("not a page trace: " + path.string());
  }
  PageTrace trace;
  std::uint32_t events = 0;
  std::memcpy(&events, bytes.data() + 8, sizeof(events));
  std::memcpy(&trace.peak_pages, bytes.data() + 12, sizeof(trace.peak_pages));
  if (bytes.size() - header_bytes != events * sizeof(std::uint64_t)) {
    throw std::runtime_error("page trace has the wrong length: " + path.string());
  }
  trace.events.resize(events);
  for (std::size_t index = 0; index < events; ++index) {
    PageTraceEvent& event = trace.events[index];
    std::memcpy(&event.bits, bytes.data() + header_bytes + index * sizeof(std::uint64_t),
                sizeof(event.bits));
    if (!event.is_free()) {
      trace.blocks = std::max(trace.blocks, event.block() + 1);
    }
  }
  return trace;
}

} // namespace test_support
