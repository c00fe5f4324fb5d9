// SPDX-License-Identifier: MIT
#include "vmm/boot/recording_check.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

namespace vmm {
namespace {

static_assert(std::endian::native == std::endian::little, "recordings are little endian");

// State of a block: its order while it is live, or one of these.
constexpr std::uint8_t never_allocated = 0xff;
constexpr std::uint8_t already_freed = 0xfe;
static_assert(abi::max_order < already_freed);

abi::PageTraceEvent event_at(std::span<const std::byte> bytes, std::uint64_t index) {
  abi::PageTraceEvent event;
  std::memcpy(&event, bytes.data() + recording_bytes(index), sizeof event);
  return event;
}

class Validator {
 public:
  Validator(std::string_view name, std::uint64_t events) : name_(name) { summary_.events = events; }

  Result<void> take(std::uint64_t index, abi::PageTraceEvent event) {
    if (event.order().value > abi::max_order) {
      return damaged(index, "order {} is out of range 0 to {}", event.order().value,
                     abi::max_order);
    }
    if (event.block_id() >= summary_.events) {
      return damaged(index, "unknown block id {}, there can be only {} blocks", event.block_id(),
                     summary_.events);
    }
    summary_.duration_us += event.delta_us();
    return event.is_free() ? take_free(index, event) : take_allocation(index, event);
  }

  [[nodiscard]] const RecordingSummary& summary() const { return summary_; }

 private:
  Result<void> take_allocation(std::uint64_t index, abi::PageTraceEvent event) {
    const std::uint32_t id = event.block_id();
    if (id >= blocks_.size()) {
      blocks_.resize(std::size_t{id} + 1, never_allocated);
      summary_.blocks = blocks_.size();
    }
    if (blocks_[id] != never_allocated) {
      return damaged(index, "block {} is allocated a second time", id);
    }
    blocks_[id] = event.order().value;
    summary_.live_at_end_pages += event.order().frames();
    summary_.peak_pages = std::max(summary_.peak_pages, summary_.live_at_end_pages);
    return {};
  }

  Result<void> take_free(std::uint64_t index, abi::PageTraceEvent event) {
    const std::uint32_t id = event.block_id();
    if (id >= blocks_.size() || blocks_[id] == never_allocated) {
      return damaged(index, "block {} is freed before its allocation", id);
    }
    if (blocks_[id] == already_freed) {
      return damaged(index, "block {} is freed a second time", id);
    }
    if (blocks_[id] != event.order().value) {
      return damaged(index, "block {} of order {} is freed with order {}", id, blocks_[id],
                     event.order().value);
    }
    blocks_[id] = already_freed;
    summary_.live_at_end_pages -= event.order().frames();
    return {};
  }

  template <typename... Args>
  std::unexpected<Error> damaged(std::uint64_t index, fmt::format_string<Args...> what,
                                 Args&&... args) const {
    return user_error("{}: damaged page trace: event {} at byte {}: {}; fetch or record it again",
                      name_, index, recording_bytes(index),
                      fmt::format(what, std::forward<Args>(args)...));
  }

  std::string_view name_;
  RecordingSummary summary_;
  std::vector<std::uint8_t> blocks_; // by id
};

} // namespace

Result<abi::PageTraceHeader> parse_recording_header(std::span<const std::byte> bytes,
                                                    std::string_view name) {
  abi::PageTraceHeader header;
  const std::size_t magic_bytes = std::min(bytes.size(), sizeof header.magic);
  if (magic_bytes == 0 || std::memcmp(bytes.data(), &header.magic, magic_bytes) != 0) {
    return user_error("{}: not a page trace: it does not begin with PGTRACE1; give a .pgt or "
                      ".pgt.xz file",
                      name);
  }
  if (bytes.size() < sizeof header) {
    return user_error("{}: truncated page trace: {} bytes of a {} byte header; fetch or record it "
                      "again",
                      name, bytes.size(), sizeof header);
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

Result<RecordingSummary> validate_recording(std::span<const std::byte> bytes,
                                            std::string_view name) {
  EBB_TRY_ASSIGN(header, parse_recording_header(bytes, name));
  if (bytes.size() < recording_bytes(header.events)) {
    const std::uint64_t complete = (bytes.size() - sizeof header) / sizeof(abi::PageTraceEvent);
    return user_error("{}: truncated page trace: event {} of {} is cut off at byte {}; fetch or "
                      "record it again",
                      name, complete, header.events, bytes.size());
  }
  if (bytes.size() > recording_bytes(header.events)) {
    return user_error("{}: damaged page trace: data goes on after the last of {} events at byte "
                      "{}; fetch or record it again",
                      name, header.events, recording_bytes(header.events));
  }
  Validator validator(name, header.events);
  for (std::uint64_t index = 0; index < header.events; ++index) {
    EBB_TRY(validator.take(index, event_at(bytes, index)));
  }
  return validator.summary();
}

} // namespace vmm
