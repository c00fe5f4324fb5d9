// SPDX-License-Identifier: MIT
#include "vmm/record/trace_writer.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vmm {
namespace {

constexpr std::uint64_t chunk_bytes = std::uint64_t{16} << 20;
constexpr std::uint64_t touch_ahead_bytes = std::uint64_t{2} << 20;
// linux/mman.h of 5.14: touch for writing. Older kernels answer EINVAL and the writers fault.
constexpr int populate_write = 23;

std::uint64_t records_within(std::uint64_t file_bytes) {
  return (file_bytes - abi::trace_header_bytes) / sizeof(abi::TraceRecord);
}

} // namespace

Result<std::unique_ptr<TraceWriter>> TraceWriter::create(TraceTarget target,
                                                         const abi::TraceHeader& header) {
  std::unique_ptr<TraceWriter> writer(new TraceWriter(std::move(target), header));
  EBB_TRY(writer->target_.reserve(writer->first_bytes()));
  return writer;
}

std::uint64_t TraceWriter::first_bytes() const {
  return capacity_ == 0 ? chunk_bytes
                        : abi::trace_header_bytes + capacity_ * sizeof(abi::TraceRecord);
}

Result<void> TraceWriter::begin() {
  EBB_TRY(target_.begin(pending_header_, first_bytes()));
  const std::uint64_t bytes = capacity_ == 0 ? max_file_bytes : first_bytes();
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, target_.fd(), 0);
  if (mapped == MAP_FAILED) {
    return system_error("a trace cannot be mapped");
  }
  mapping_ = static_cast<std::byte*>(mapped);
  mapping_bytes_ = bytes;
  guard_.emplace(std::span<const std::byte>(mapping_, mapping_bytes_));
  // The file's bytes become a header and an array of trivial types; both offsets are aligned.
  header_ = reinterpret_cast<abi::TraceHeader*>(mapping_);
  records_ = reinterpret_cast<abi::TraceRecord*>(mapping_ + abi::trace_header_bytes);
  writable_.store(capacity_ != 0 ? capacity_ : records_within(first_bytes()));
  keep_ahead();
  return {};
}

TraceWriter::~TraceWriter() {
  guard_.reset();
  if (mapping_ != nullptr) {
    ::munmap(mapping_, mapping_bytes_);
  }
}

void TraceWriter::write(std::uint64_t slot, const abi::TraceRecord& record) {
  const std::uint64_t index = capacity_ == 0 ? slot : slot % capacity_;
  if (index >= writable_.load(std::memory_order_acquire)) [[unlikely]] {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  abi::TraceRecord& to = records_[index];
  const std::atomic_ref sequence(to.sequence);
  if (capacity_ != 0) {
    // The slot holds an older record: not whole from here on. The acquire keeps the stores below
    // behind it; a fence would do, too, but ThreadSanitizer knows none.
    sequence.exchange(0, std::memory_order_acq_rel);
  }
  to.time_ns = record.time_ns;
  to.address = record.address;
  to.value = record.value;
  to.count = record.count;
  to.event = record.event;
  to.channel = record.channel;
  to.order = record.order;
  to.detail = record.detail;
  sequence.store(slot + 1, std::memory_order_release);
}

std::optional<abi::TraceRecord> TraceWriter::read(std::uint64_t number) const {
  if (capacity_ != 0 || number == 0 || number > writable_.load(std::memory_order_acquire)) {
    return std::nullopt;
  }
  abi::TraceRecord& from = records_[number - 1];
  if (std::atomic_ref(from.sequence).load(std::memory_order_acquire) != number) {
    return std::nullopt;
  }
  return from; // written once, and whole
}

std::uint64_t TraceWriter::allocated_bytes() const {
  return capacity_ != 0 ? mapping_bytes_
                        : abi::trace_header_bytes +
                              writable_.load(std::memory_order_relaxed) * sizeof(abi::TraceRecord);
}

void TraceWriter::keep_ahead() {
  if (!is_whole()) {
    return;
  }
  seen_records_ = records();
  const std::uint64_t used = abi::trace_header_bytes + seen_records_ * sizeof(abi::TraceRecord);
  if (capacity_ == 0) {
    grow(used);
  }
  const std::uint64_t touch_end =
      std::min(abi::align_down(allocated_bytes(), abi::page_bytes),
               abi::align_up(used + touch_ahead_bytes, abi::page_bytes));
  if (touch_end > touched_bytes_) {
    // Only advice: failing costs the writers a fault for each page.
    static_cast<void>(
        ::madvise(mapping_ + touched_bytes_, touch_end - touched_bytes_, populate_write));
    touched_bytes_ = touch_end;
  }
}

// Keeps half a chunk free behind the `used` bytes, as long as there is room.
void TraceWriter::grow(std::uint64_t used) {
  const std::uint64_t allocated = allocated_bytes();
  if (allocated - std::min(allocated, used) >= chunk_bytes / 2 || out_of_space_ != 0) {
    return;
  }
  // From a whole chunk to the next: the last record that fits may end short of it.
  const std::uint64_t from = abi::align_up(allocated, chunk_bytes);
  const std::uint64_t to = std::max(from, abi::align_up(used, chunk_bytes)) + chunk_bytes;
  out_of_space_ = to <= max_file_bytes ? target_.grow(from, to) : EFBIG;
  if (out_of_space_ == 0) {
    writable_.store(records_within(to), std::memory_order_release);
  }
}

// Brings the header's count up to date. False: somebody has cut the file; nothing can be told of
// what is left of it, so that all of it counts as lost.
bool TraceWriter::is_whole() {
  // Without its magic it was cut and has grown again since.
  if (!cut_short_ && (guard_->torn() || header_->magic != abi::trace_magic ||
                      target_.is_shorter_than(allocated_bytes()))) {
    cut_short_ = true;
    writable_.store(0, std::memory_order_release);
    lost_.fetch_add(std::max(seen_records_, std::uint64_t{1}), std::memory_order_relaxed);
  }
  std::atomic_ref(header_->lost).store(lost_.load(), std::memory_order_relaxed);
  return !cut_short_;
}

void TraceWriter::finish() {
  if (!is_whole()) {
    return;
  }
  const std::uint64_t kept = std::min(records(), writable_.load(std::memory_order_relaxed));
  if (capacity_ == 0) {
    header_->claimed = kept;
  }
  if (lost_.load() == 0) {
    std::atomic_ref(header_->finished).store(1, std::memory_order_release);
  }
  // Shorter is only tidier: a reader goes by the header.
  if (capacity_ == 0) {
    static_cast<void>(target_.cut_to(abi::trace_header_bytes + kept * sizeof(abi::TraceRecord)));
  }
}

TraceLoss TraceWriter::loss() const {
  const std::uint64_t lost = lost_.load();
  if (cut_short_) {
    return {0, lost, "the file was made shorter by somebody else"};
  }
  if (lost == 0) {
    return {records(), 0, {}};
  }
  const std::uint64_t kept =
      capacity_ == 0 ? std::min(records(), writable_.load(std::memory_order_relaxed)) : records();
  const int error = out_of_space_;
  return {kept, lost,
          error != 0 ? errno_text(error)
                     : std::string("they came faster than the file could grow")};
}

} // namespace vmm
