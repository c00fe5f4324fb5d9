// SPDX-License-Identifier: MIT
#include "vmm/record/trace_writer.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

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

// Blocks behind [from, to). File systems without fallocate get a sparse file.
bool allocate(int fd, std::uint64_t from, std::uint64_t to) {
  if (::fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(to - from)) == 0) {
    return true;
  }
  return (errno == EOPNOTSUPP || errno == ENOSYS) && ::ftruncate(fd, static_cast<off_t>(to)) == 0;
}

std::uint64_t records_within(std::uint64_t file_bytes) {
  return (file_bytes - abi::trace_header_bytes) / sizeof(abi::TraceRecord);
}

} // namespace

Result<std::unique_ptr<TraceWriter>> TraceWriter::create(const std::string& path,
                                                         const abi::TraceHeader& header) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return user_error("--trace {}: cannot be written: {}", path, errno_text(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return user_error("--trace {}: not a regular file; a trace is written in place", path);
  }
  const std::uint64_t ring_bytes =
      header.capacity == 0 ? 0
                           : abi::trace_header_bytes + header.capacity * sizeof(abi::TraceRecord);
  const std::uint64_t first_bytes = ring_bytes != 0 ? ring_bytes : chunk_bytes;
  if (::ftruncate(fd.get(), 0) != 0 || !allocate(fd.get(), 0, first_bytes)) {
    return user_error("--trace {}: no room for {} MiB: {}", path, first_bytes >> 20,
                      errno_text(errno));
  }
  const std::uint64_t mapping_bytes = ring_bytes != 0 ? ring_bytes : max_file_bytes;
  void* const mapped =
      ::mmap(nullptr, mapping_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) {
    return user_error("--trace {}: cannot be mapped: {}", path, errno_text(errno));
  }
  std::unique_ptr<TraceWriter> writer(
      new TraceWriter(std::move(fd), static_cast<std::byte*>(mapped), mapping_bytes));
  *writer->header_ = header;
  writer->capacity_ = header.capacity;
  writer->writable_.store(header.capacity != 0 ? header.capacity : records_within(first_bytes));
  writer->keep_ahead();
  return writer;
}

TraceWriter::TraceWriter(UniqueFd fd, std::byte* mapping, std::uint64_t mapping_bytes)
    : fd_(std::move(fd)), mapping_(mapping), mapping_bytes_(mapping_bytes),
      // The file's bytes become a header and an array of trivial types; both offsets are aligned.
      header_(reinterpret_cast<abi::TraceHeader*>(mapping)),
      records_(reinterpret_cast<abi::TraceRecord*>(mapping + abi::trace_header_bytes)) {}

TraceWriter::~TraceWriter() {
  stop();
  ::munmap(mapping_, mapping_bytes_);
}

void TraceWriter::write(std::uint64_t slot, const abi::TraceRecord& record) {
  const std::uint64_t index = capacity_ == 0 ? slot : slot % capacity_;
  if (index >= writable_.load(std::memory_order_acquire)) [[unlikely]] {
    std::atomic_ref(header_->lost).fetch_add(1, std::memory_order_relaxed);
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

void TraceWriter::start(std::chrono::nanoseconds period, std::function<void()> tick,
                        ThreadStart on_start) {
  thread_ = std::thread([this, period, tick = std::move(tick), on_start = std::move(on_start)] {
    begin_thread(on_start);
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      wake_.wait_for(lock, period);
      lock.unlock();
      tick();
      keep_ahead();
      lock.lock();
    }
  });
}

// Only by one thread at a time: create(), then the writer's own.
void TraceWriter::keep_ahead() {
  const std::uint64_t claimed = records();
  const std::uint64_t used = abi::trace_header_bytes + claimed * sizeof(abi::TraceRecord);
  std::uint64_t allocated = mapping_bytes_;
  if (capacity_ == 0) {
    allocated = abi::trace_header_bytes +
                writable_.load(std::memory_order_relaxed) * sizeof(abi::TraceRecord);
    if (allocated - std::min(allocated, used) < chunk_bytes / 2 && !out_of_space_) {
      // From a whole chunk to the next: the last record that fits may end short of it.
      const std::uint64_t from = abi::align_up(allocated, chunk_bytes);
      const std::uint64_t to = std::max(from, abi::align_up(used, chunk_bytes)) + chunk_bytes;
      if (to <= max_file_bytes && allocate(fd_.get(), from, to)) {
        writable_.store(records_within(to), std::memory_order_release);
        allocated = to;
      } else {
        out_of_space_ = true;
      }
    }
  }
  const std::uint64_t touch_end =
      std::min(abi::align_down(allocated, abi::page_bytes),
               abi::align_up(used + touch_ahead_bytes, abi::page_bytes));
  if (touch_end > touched_bytes_) {
    // Only advice: failing costs the writers a fault for each page.
    static_cast<void>(
        ::madvise(mapping_ + touched_bytes_, touch_end - touched_bytes_, populate_write));
    touched_bytes_ = touch_end;
  }
}

void TraceWriter::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void TraceWriter::finish() {
  stop();
  const std::uint64_t kept = std::min(records(), writable_.load(std::memory_order_relaxed));
  if (capacity_ == 0) {
    header_->claimed = kept;
  }
  std::atomic_ref(header_->finished).store(1, std::memory_order_release);
  // Shorter is only tidier: a reader goes by the header.
  const std::uint64_t used = abi::trace_header_bytes + kept * sizeof(abi::TraceRecord);
  if (capacity_ == 0 && ::ftruncate(fd_.get(), static_cast<off_t>(used)) != 0) {
    return;
  }
}

} // namespace vmm
