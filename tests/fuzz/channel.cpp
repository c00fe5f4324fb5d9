// SPDX-License-Identifier: MIT
// Any bytes as a guest that writes into its report channel while the host serves it: whatever it
// does, only memory that it manages is discarded, each visit does bounded work, and the host's own
// record of the channel stays its own.
#include <array>
#include <atomic>
#include <memory>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/serve_channel.hpp"
#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/channel_server.hpp"

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t ram_bytes = 16 * mib;
constexpr std::uint64_t managed_start = 4 * mib;

// Takes every call for a discard and looks at its range. Meanwhile the guest goes on writing.
class CheckedCalls final : public vmm::DiscardCalls {
 public:
  explicit CheckedCalls(const vmm::GuestMemory& memory) : base_(memory.base()) {}

  void write_meanwhile(abi::Channel* channel, fuzz::Bytes* bytes) {
    channel_ = channel;
    bytes_ = bytes;
  }
  [[nodiscard]] std::uint64_t discarded_bytes() const { return discarded_bytes_; }
  void reset() { discarded_bytes_ = 0; }

  int madvise(std::byte* address, std::size_t bytes, int /*advice*/) override {
    look(address, bytes);
    return bytes_ != nullptr && bytes_->take<std::uint8_t>() > 250 ? EAGAIN : 0;
  }
  std::expected<std::size_t, int> process_madvise(int /*pidfd*/, std::span<const iovec> ranges,
                                                  int /*advice*/) override {
    if (bytes_ == nullptr) {
      return std::unexpected(ENOSYS); // the engine's trial at its creation
    }
    std::size_t done = 0;
    for (const iovec& range : ranges) {
      look(static_cast<std::byte*>(range.iov_base), range.iov_len);
      done += range.iov_len;
    }
    return done;
  }
  int punch_hole(int /*fd*/, std::uint64_t offset, std::uint64_t bytes) override {
    look(base_ + offset, bytes);
    return 0;
  }

 private:
  void look(std::byte* address, std::size_t bytes) {
    fuzz::require(address >= base_ + managed_start);
    fuzz::require(bytes != 0 && bytes % abi::page_bytes == 0 && bytes <= ram_bytes);
    fuzz::require(address + bytes <= base_ + ram_bytes);
    fuzz::require((address - base_) % static_cast<std::ptrdiff_t>(abi::page_bytes) == 0);
    discarded_bytes_ += bytes;
    if (bytes_ != nullptr && !bytes_->empty()) {
      auto& page = channel_->pages[bytes_->below(abi::ring_entries)];
      page.ranges[bytes_->below(abi::max_batch_ranges)].bits = bytes_->take<std::uint64_t>();
    }
  }

  std::byte* base_;
  abi::Channel* channel_ = nullptr;
  fuzz::Bytes* bytes_ = nullptr;
  std::uint64_t discarded_bytes_ = 0;
};

abi::RangeDescriptor descriptor(fuzz::Bytes& bytes) {
  switch (bytes.below(4)) {
  case 0:
    return {bytes.take<std::uint64_t>()}; // anything
  case 1: {                               // near an edge of what may be named
    constexpr std::array edges{std::uint64_t{0}, managed_start, ram_bytes,
                               abi::RangeDescriptor::pfn_mask << abi::page_shift};
    const std::uint64_t pfn =
        (edges[bytes.below(edges.size())] >> abi::page_shift) + bytes.below(2048) - 1024;
    return abi::RangeDescriptor::make({pfn}, {bytes.take<std::uint8_t>()}, abi::RangeKind::hint);
  }
  default: { // good, or nearly
    const abi::Order order{static_cast<std::uint8_t>(bytes.below(abi::max_order + 2))};
    const std::uint64_t pfn =
        abi::align_down(bytes.below(ram_bytes >> abi::page_shift), order.frames());
    return abi::RangeDescriptor::make(
        {pfn}, order, bytes.below(4) == 0 ? abi::RangeKind::span : abi::RangeKind::hint);
  }
  }
}

void guest_step(abi::Channel& channel, fuzz::Bytes& bytes) {
  abi::ChannelRings& rings = channel.rings;
  switch (bytes.below(8)) {
  case 0:
    rings.submit_tail = bytes.take<std::uint32_t>();
    break;
  case 1:
    rings.complete_head = bytes.take<std::uint32_t>();
    break;
  case 2:
    rings.submissions[bytes.below(abi::ring_entries)] = bytes.take<abi::SubmissionEntry>();
    break;
  case 3: // the host's half of the page
    rings.submit_head = bytes.take<std::uint32_t>();
    rings.complete_tail = bytes.take<std::uint32_t>();
    break;
  default: { // an orderly submission, more or less
    const std::uint32_t page = bytes.below(abi::ring_entries);
    const std::uint32_t count = bytes.below(20);
    for (std::uint32_t index = 0; index < count; ++index) {
      channel.pages[page].ranges[index] = descriptor(bytes);
    }
    rings.submissions[rings.submit_tail % abi::ring_entries] = {bytes.take<std::uint8_t>(), page,
                                                                count};
    rings.submit_tail += 1;
    rings.complete_head = rings.complete_tail;
  }
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto memory = vmm::GuestMemory::create(ram_bytes, vmm::Backing::small_pages);
  fuzz::require(memory.has_value());
  static CheckedCalls calls(*memory);
  calls.write_meanwhile(nullptr, nullptr);
  auto engine = vmm::DiscardEngine::create(*memory, {}, calls);
  fuzz::require(engine.has_value());
  vmm::BatchProcessor processor({{managed_start}, memory->end(), {}}, std::move(*engine));
  const auto channel = std::make_unique<abi::Channel>();
  vmm::ChannelServer server(*channel);
  fuzz::Bytes bytes(data, size);
  calls.write_meanwhile(channel.get(), &bytes);
  while (!bytes.empty()) {
    guest_step(*channel, bytes);
    calls.reset();
    fuzz::require(test_support::serve(server, processor) <= abi::ring_entries);
    // A batch holds at most so many of the largest blocks; a hint may be named once by its span.
    fuzz::require(calls.discarded_bytes() <= 2 * abi::ring_entries * abi::max_batch_ranges *
                                                 abi::Order{abi::max_order}.bytes());
  }
  return 0;
}
