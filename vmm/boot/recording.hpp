// SPDX-License-Identifier: MIT
// A recorded program's page allocations from a file in the page-trace format, plain or xz (told
// apart by content, not name), validated whole and held in memory that can become a read-only
// memory slot of the guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/boot/recording_check.hpp"

namespace vmm {

// Anonymous memory, page aligned, whole pages, zero behind the content. Owns the mapping.
class PageBuffer {
 public:
  PageBuffer() = default;
  // Nothing is touched before it is written. Environment error when the host has no room.
  static Result<PageBuffer> allocate(std::uint64_t bytes);
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&& other) noexcept;
  PageBuffer(const PageBuffer&) = delete;
  PageBuffer& operator=(const PageBuffer&) = delete;
  ~PageBuffer();

  // Whole pages, at least the bytes asked for.
  [[nodiscard]] std::span<std::byte> pages() const { return pages_; }
  // From here on the content can only be read.
  Result<void> make_read_only();

 private:
  explicit PageBuffer(std::span<std::byte> pages) : pages_(pages) {}

  std::span<std::byte> pages_;
};

class Recording {
 public:
  // A file whose decompressed size exceeds this is refused before it is read.
  static constexpr std::uint64_t default_limit_bytes = std::uint64_t{4} << 30;

  // Reads and validates `path`. Memory use is bounded by the limit and one byte per block, however
  // hostile the file. User error for everything that is wrong with the file.
  static Result<Recording> load(const std::string& path,
                                std::uint64_t limit_bytes = default_limit_bytes);

  // Whole pages, read-only: the recording, then zeroes.
  [[nodiscard]] std::span<const std::byte> pages() const { return buffer_.pages(); }
  // The recording: what goes into BootInfo::input_bytes.
  [[nodiscard]] std::uint64_t bytes() const { return recording_bytes(summary_.events); }
  [[nodiscard]] const RecordingSummary& summary() const { return summary_; }

 private:
  Recording(PageBuffer buffer, const RecordingSummary& summary)
      : buffer_(std::move(buffer)), summary_(summary) {}

  PageBuffer buffer_;
  RecordingSummary summary_;
};

} // namespace vmm
