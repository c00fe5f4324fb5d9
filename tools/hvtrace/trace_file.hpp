// SPDX-License-Identifier: MIT
// A trace in a file, memory-mapped. Nothing in it is trusted.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/io/mapped_file.hpp"
#include "vmm/trace/trace_source.hpp"

namespace hvtrace {

// The largest guest a trace may speak of; bounds what readers allocate.
inline constexpr std::uint64_t max_ram_bytes = std::uint64_t{1} << 40;

class TraceFile final : public TraceSource {
 public:
  // User error, one line, when the file is not a trace that this program can read. A trace without
  // its end is no error.
  static vmm::Result<TraceFile> open(const std::string& path);
  // The same over bytes that outlive the result. `name` is for messages.
  static vmm::Result<TraceFile> parse(std::span<const std::byte> bytes, const std::string& name);

  [[nodiscard]] const abi::TraceHeader& header() const override { return *header_; }
  [[nodiscard]] std::uint64_t first() const override { return first_; }
  [[nodiscard]] std::uint64_t end() const override { return end_; }
  [[nodiscard]] std::optional<abi::TraceRecord> at(std::uint64_t number) const override;
  [[nodiscard]] bool finished() const override { return header_->finished != 0; }

  // The file was made shorter than it was when it was opened, and something of what is gone was
  // read, as zeroes.
  [[nodiscard]] bool torn() const { return mapped_ && mapped_->torn(); }

  // Records that the header counts but the file is too short for.
  [[nodiscard]] std::uint64_t cut_off() const override { return cut_off_; }

 private:
  TraceFile() = default;

  // Lets go of the mapping's pages before record `number`, so that reading a long trace through
  // takes no more memory than reading a short one. They come back when they are read again.
  void release_before(std::uint64_t number) const;

  std::optional<vmm::MappedFile> mapped_;    // none for bytes of others
  std::unique_ptr<abi::TraceHeader> header_; // a copy: the file may be growing
  const std::byte* records_ = nullptr;
  std::uint64_t slots_ = 0; // in a ring, its capacity
  std::uint64_t first_ = 1;
  std::uint64_t end_ = 1;
  std::uint64_t cut_off_ = 0;
  // Reading outside of [window_start_, window_start_ + window_records_) releases what is before.
  mutable std::uint64_t window_start_ = 0;
  std::uint64_t window_records_ = ~std::uint64_t{0};
};

} // namespace hvtrace
