// SPDX-License-Identifier: MIT
#include "vmm/hints/discard_engine.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

using abi::Outcome;
using abi::RangeKind;
using vmm::Backing;
using vmm::DiscardEngine;
using vmm::DiscardMethod;
using vmm::DiscardOptions;
using vmm::GuestMemory;
using vmm::SpanUse;

namespace {

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t ram_bytes = 16 * mib;
constexpr std::byte mark{0x5a};

struct Call {
  enum class Kind : std::uint8_t { madvise, process_madvise, punch_hole };
  Kind kind;
  std::uint64_t bytes; // asked for
  std::size_t length;  // ranges in the vector
  int advice;
};

// Passes calls on to the kernel and records them; a script may answer instead.
class RecordingCalls final : public vmm::DiscardCalls {
 public:
  std::vector<Call> calls;
  // Error to return without doing anything; 0 goes on.
  std::function<int(const Call&)> error;
  // How many bytes of a vectored call to do, at most.
  std::function<std::size_t(const Call&)> limit;

  int madvise(std::byte* address, std::size_t bytes, int advice) override {
    const int failure = record({Call::Kind::madvise, bytes, 1, advice});
    return failure != 0 ? failure : real_.madvise(address, bytes, advice);
  }

  std::expected<std::size_t, int> process_madvise(int, std::span<const iovec> ranges,
                                                  int advice) override {
    std::uint64_t bytes = 0;
    for (const iovec& range : ranges) {
      bytes += range.iov_len;
    }
    const int failure = record({Call::Kind::process_madvise, bytes, ranges.size(), advice});
    if (failure != 0) {
      return std::unexpected(failure);
    }
    // One by one, so that the fake also works where the kernel lacks the vectored call.
    std::size_t left = limit ? std::min<std::size_t>(limit(calls.back()), bytes) : bytes;
    const std::size_t done = left;
    for (const iovec& range : ranges) {
      const std::size_t part = std::min(left, range.iov_len);
      if (part != 0) {
        CHECK(real_.madvise(static_cast<std::byte*>(range.iov_base), part, advice) == 0);
      }
      left -= part;
    }
    return done;
  }

  int punch_hole(int fd, std::uint64_t offset, std::uint64_t bytes) override {
    const int failure = record({Call::Kind::punch_hole, bytes, 1, 0});
    return failure != 0 ? failure : real_.punch_hole(fd, offset, bytes);
  }

  [[nodiscard]] std::size_t count(Call::Kind kind) const {
    return static_cast<std::size_t>(
        std::count_if(calls.begin(), calls.end(), [&](const Call& c) { return c.kind == kind; }));
  }

 private:
  int record(Call call) {
    calls.push_back(call);
    return error ? error(call) : 0;
  }
  vmm::SystemDiscardCalls real_;
};

vmm::CheckedRange range(std::uint64_t gpa, unsigned order, RangeKind kind = RangeKind::hint,
                        std::uint16_t enclosing = vmm::CheckedRange::no_span) {
  vmm::CheckedRange result;
  result.start = {gpa};
  result.bytes = static_cast<std::uint32_t>(abi::page_bytes << order);
  result.kind = kind;
  result.enclosing_span = enclosing;
  return result;
}

// Guest memory full of marks, and an engine for it.
class Bench {
 public:
  static std::unique_ptr<Bench> create(Backing backing, DiscardOptions options = {}) {
    auto memory = GuestMemory::create(ram_bytes, backing);
    if (!memory) {
      MESSAGE("skipped ", vmm::name_of(backing), ": ", memory.error().message);
      return nullptr;
    }
    return std::unique_ptr<Bench>(new Bench(std::move(*memory), options));
  }

  void discard(const std::vector<vmm::CheckedRange>& ranges) {
    batch_->count = static_cast<std::uint32_t>(ranges.size());
    std::copy(ranges.begin(), ranges.end(), batch_->storage.begin());
    vmm::coalesce(batch_->ranges(), engine->selection(), *runs_);
    answer = {};
    calls.calls.clear();
    engine->discard(*batch_, *runs_, answer);
  }

  [[nodiscard]] bool all(std::uint64_t from, std::uint64_t to, std::byte value) const {
    return std::all_of(memory.base() + from, memory.base() + to,
                       [&](std::byte b) { return b == value; });
  }
  [[nodiscard]] bool zero(std::uint64_t from, std::uint64_t to) const {
    return all(from, to, std::byte{0});
  }
  [[nodiscard]] bool kept(std::uint64_t from, std::uint64_t to) const {
    return all(from, to, mark);
  }
  [[nodiscard]] const vmm::DiscardCounters& counters() const { return engine->counters(); }

  GuestMemory memory;
  RecordingCalls calls;
  std::unique_ptr<DiscardEngine> engine;
  abi::CompletionEntry answer;

 private:
  Bench(GuestMemory from, DiscardOptions options) : memory(std::move(from)) {
    std::memset(memory.base(), std::to_integer<int>(mark), ram_bytes);
    auto created = DiscardEngine::create(memory, options, calls);
    REQUIRE(created);
    engine = std::make_unique<DiscardEngine>(std::move(*created));
  }

  std::unique_ptr<vmm::CheckedBatch> batch_ = std::make_unique<vmm::CheckedBatch>();
  std::unique_ptr<vmm::CoalescedRuns> runs_ = std::make_unique<vmm::CoalescedRuns>();
};

std::vector<vmm::CheckedRange> every_other_page(std::uint32_t count) {
  std::vector<vmm::CheckedRange> ranges;
  ranges.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    ranges.push_back(range(2 * page * i, 0));
  }
  return ranges;
}

} // namespace

TEST_CASE("what is answered as discarded reads as zero and its neighbours are untouched") {
  for (const Backing backing : {Backing::thp, Backing::small_pages, Backing::memfd}) {
    CAPTURE(vmm::name_of(backing));
    const auto bench = Bench::create(backing);
    REQUIRE(bench);
    bench->discard({range(page, 0), range(8 * mib, 9), range(64 * kib, 4), range(10 * mib, 9)});
    for (std::uint32_t i = 0; i < 4; ++i) {
      CHECK(bench->answer.outcome(i) == Outcome::discarded);
    }
    CHECK(bench->kept(0, page));
    CHECK(bench->zero(page, 2 * page));
    CHECK(bench->kept(2 * page, 64 * kib));
    CHECK(bench->zero(64 * kib, 128 * kib));
    CHECK(bench->kept(128 * kib, 8 * mib));
    CHECK(bench->zero(8 * mib, 12 * mib));
    CHECK(bench->kept(12 * mib, ram_bytes));
    CHECK(bench->counters().asked_bytes.value() == 4 * mib + 17 * page);
    CHECK(bench->counters().discarded_bytes.value() == 4 * mib + 17 * page);
    CHECK(bench->counters().declined_bytes.value() == 0);
    CHECK(bench->counters().span_extra_bytes.value() == 0);
    // Three runs: one vectored call, or a hole each.
    CHECK(bench->calls.calls.size() == (backing == Backing::memfd ? 3 : 1));
  }
}

TEST_CASE("the real system calls discard, vectored or not") {
  vmm::SystemDiscardCalls calls;
  auto memory = GuestMemory::create(ram_bytes, Backing::small_pages);
  REQUIRE(memory);
  auto engine = DiscardEngine::create(*memory, {}, calls);
  REQUIRE(engine);
  if (!engine->vectored()) {
    MESSAGE("process_madvise on oneself does not work here; tested without");
  }
  std::memset(memory->base(), 1, ram_bytes);
  const auto batch = std::make_unique<vmm::CheckedBatch>();
  const auto runs = std::make_unique<vmm::CoalescedRuns>();
  const auto ranges = every_other_page(abi::max_batch_ranges);
  std::copy(ranges.begin(), ranges.end(), batch->storage.begin());
  batch->count = abi::max_batch_ranges;
  vmm::coalesce(batch->ranges(), engine->selection(), *runs);
  abi::CompletionEntry answer;
  engine->discard(*batch, *runs, answer);
  for (std::uint32_t i = 0; i < abi::max_batch_ranges; ++i) {
    REQUIRE(answer.outcome(i) == Outcome::discarded);
    REQUIRE(memory->base()[2 * page * i] == std::byte{0});
    REQUIRE(memory->base()[2 * page * i + page] == std::byte{1});
  }
}

TEST_CASE("hugetlb gives back whole huge pages of a run and declines what reaches beyond") {
  const auto bench = Bench::create(Backing::hugetlb);
  if (!bench) {
    return;
  }
  // [2 MiB, 6 MiB + 4 KiB) as 2 MiB, two times 1 MiB, 4 KiB; and 1 MiB apart.
  bench->discard({range(2 * mib, 9), range(4 * mib, 8), range(5 * mib, 8), range(6 * mib, 0),
                  range(9 * mib, 8)});
  CHECK(bench->answer.outcome(0) == Outcome::discarded);
  CHECK(bench->answer.outcome(1) == Outcome::discarded);
  CHECK(bench->answer.outcome(2) == Outcome::discarded);
  CHECK(bench->answer.outcome(3) == Outcome::declined);
  CHECK(bench->answer.outcome(4) == Outcome::declined);
  CHECK(bench->kept(0, 2 * mib));
  CHECK(bench->zero(2 * mib, 6 * mib));
  CHECK(bench->kept(6 * mib, ram_bytes));
  CHECK(bench->calls.calls.size() == 1);
  CHECK(bench->counters().discarded_bytes.value() == 4 * mib);
  CHECK(bench->counters().declined_bytes.value() == 1 * mib + page);
  CHECK(bench->counters().failed_ranges.value() == 0);
}

TEST_CASE("a span goes back whole, or only its hints do") {
  const std::vector<vmm::CheckedRange> ranges = {range(2 * mib, 9, RangeKind::span),
                                                 range(2 * mib, 0, RangeKind::hint, 0),
                                                 range(3 * mib, 0, RangeKind::hint, 0)};
  const auto whole = Bench::create(Backing::thp);
  REQUIRE(whole);
  whole->discard(ranges);
  CHECK(whole->zero(2 * mib, 4 * mib));
  CHECK(whole->kept(0, 2 * mib));
  CHECK(whole->kept(4 * mib, ram_bytes));
  CHECK(whole->answer.outcome(0) == Outcome::discarded);
  CHECK(whole->answer.outcome(2) == Outcome::discarded);
  CHECK(whole->counters().discarded_bytes.value() == 2 * page);
  CHECK(whole->counters().span_extra_bytes.value() == 2 * mib - 2 * page);

  const auto hints = Bench::create(Backing::thp, {.span_use = SpanUse::hints_only});
  REQUIRE(hints);
  hints->discard(ranges);
  CHECK(hints->zero(2 * mib, 2 * mib + page));
  CHECK(hints->kept(2 * mib + page, 3 * mib));
  CHECK(hints->answer.outcome(0) == Outcome::declined);
  CHECK(hints->answer.outcome(1) == Outcome::discarded);
  CHECK(hints->counters().span_extra_bytes.value() == 0);
}

TEST_CASE("hints below an order are declined unless their span goes back whole") {
  const auto bench = Bench::create(Backing::small_pages, {.decline_below = abi::Order{4}});
  REQUIRE(bench);
  bench->discard({range(0, 3), range(64 * kib, 4), range(2 * mib, 9, RangeKind::span),
                  range(3 * mib, 0, RangeKind::hint, 2)});
  CHECK(bench->answer.outcome(0) == Outcome::declined);
  CHECK(bench->kept(0, 32 * kib));
  CHECK(bench->answer.outcome(1) == Outcome::discarded);
  CHECK(bench->answer.outcome(3) == Outcome::discarded);
  CHECK(bench->zero(2 * mib, 4 * mib));
  CHECK(bench->counters().declined_bytes.value() == 32 * kib);
}

TEST_CASE("method none declines all, makes no call, and still tells failed from declined") {
  for (const Backing backing : {Backing::small_pages, Backing::memfd}) {
    const auto bench = Bench::create(backing, {.method = DiscardMethod::none});
    REQUIRE(bench);
    vmm::CheckedRange bad = range(0, 0);
    bad.fault = vmm::RangeFault::unaligned;
    bench->discard({range(2 * mib, 9), bad});
    CHECK(bench->answer.outcome(0) == Outcome::declined);
    CHECK(bench->answer.outcome(1) == Outcome::failed);
    CHECK(bench->calls.calls.empty());
    CHECK(bench->kept(0, ram_bytes));
    CHECK(bench->counters().asked_bytes.value() == 2 * mib);
    CHECK(bench->counters().declined_bytes.value() == 2 * mib);
    CHECK(bench->counters().failed_ranges.value() == 0);
  }
}

TEST_CASE("lazily freed memory is never answered as discarded") {
  const auto bench = Bench::create(Backing::small_pages, {.method = DiscardMethod::free_lazily});
  REQUIRE(bench);
  bench->discard({range(2 * mib, 9), range(6 * mib, 0)});
  CHECK(bench->answer.outcome(0) == Outcome::declined);
  CHECK(bench->answer.outcome(1) == Outcome::declined);
  REQUIRE_FALSE(bench->calls.calls.empty());
  for (const Call& call : bench->calls.calls) {
    CHECK(call.advice == MADV_FREE);
  }
  CHECK(bench->counters().discarded_bytes.value() == 0);
  CHECK(bench->counters().declined_bytes.value() == 2 * mib + page);
  CHECK(bench->counters().lazily_freed_bytes.value() == 2 * mib + page);
  // Written again, it is kept like any memory.
  std::memset(bench->memory.base() + 2 * mib, 1, 2 * mib);
  CHECK(bench->all(2 * mib, 4 * mib, std::byte{1}));
}

TEST_CASE("lazy freeing needs anonymous memory") {
  RecordingCalls calls;
  const auto memory = GuestMemory::create(ram_bytes, Backing::memfd);
  REQUIRE(memory);
  const auto engine = DiscardEngine::create(*memory, {.method = DiscardMethod::free_lazily}, calls);
  REQUIRE_FALSE(engine);
  CHECK(engine.error().error_class == vmm::ErrorClass::user);
}

TEST_CASE("overlapping hints count their bytes once") {
  const auto bench = Bench::create(Backing::small_pages);
  REQUIRE(bench);
  bench->discard({range(2 * mib, 9), range(2 * mib, 9), range(3 * mib, 0), range(4 * mib, 0)});
  CHECK(bench->counters().asked_bytes.value() == 4 * mib + 2 * page);
  CHECK(bench->counters().discarded_bytes.value() == 2 * mib + page);
  CHECK(bench->counters().span_extra_bytes.value() == 0);
}

TEST_CASE("an empty batch makes no call") {
  const auto bench = Bench::create(Backing::small_pages);
  REQUIRE(bench);
  bench->discard({});
  CHECK(bench->calls.calls.empty());
}

TEST_CASE("a vector is cut to the length asked for") {
  const auto bench = Bench::create(Backing::small_pages, {.vector_length = 100});
  REQUIRE(bench);
  bench->discard(every_other_page(401));
  // 100, 100, 100, 100, and the last alone.
  CHECK(bench->calls.count(Call::Kind::process_madvise) == 4);
  CHECK(bench->calls.count(Call::Kind::madvise) == 1);
  CHECK(bench->counters().discarded_bytes.value() == 401 * page);
  CHECK(bench->zero(800 * page, 801 * page));
}

TEST_CASE("a vectored call that stops half-way is continued, wherever it stops") {
  // After nothing, after some ranges, before the last.
  for (const std::uint64_t limit : {0 * page, page, 3 * page, 7 * page}) {
    CAPTURE(limit);
    const auto bench = Bench::create(Backing::small_pages);
    REQUIRE(bench);
    bench->calls.limit = [&](const Call&) { return limit; };
    bench->discard(every_other_page(8));
    for (std::uint32_t i = 0; i < 8; ++i) {
      CHECK(bench->answer.outcome(i) == Outcome::discarded);
      CHECK(bench->zero(2 * page * i, 2 * page * i + page));
      CHECK(bench->kept(2 * page * i + page, 2 * page * i + 2 * page));
    }
    CHECK(bench->counters().discarded_bytes.value() == 8 * page);
    CHECK(bench->counters().partial_calls.value() > 0);
    CHECK(bench->calls.calls.size() <= 16);
  }
}

TEST_CASE("a vectored call that stops inside a range is continued inside it") {
  const auto bench = Bench::create(Backing::small_pages);
  REQUIRE(bench);
  bench->calls.limit = [](const Call& call) {
    return call.length == 3 ? page + 2 * page : call.bytes;
  };
  bench->discard({range(0, 0), range(64 * kib, 4), range(256 * kib, 4)});
  for (std::uint32_t i = 0; i < 3; ++i) {
    CHECK(bench->answer.outcome(i) == Outcome::discarded);
  }
  CHECK(bench->zero(64 * kib, 128 * kib));
  CHECK(bench->kept(128 * kib, 256 * kib));
  CHECK(bench->zero(256 * kib, 320 * kib));
  // The rest of the second range was asked for alone.
  REQUIRE(bench->calls.calls.size() == 3);
  CHECK(bench->calls.calls[1].bytes == 64 * kib - 2 * page);
}

TEST_CASE("where the vectored call fails for good, ranges are done one by one") {
  for (const int error : {EPERM, ENOSYS, EINVAL, ENOMEM, EBADF}) {
    CAPTURE(error);
    const auto bench = Bench::create(Backing::small_pages);
    REQUIRE(bench);
    bench->calls.error = [&](const Call& call) {
      return call.kind == Call::Kind::process_madvise ? error : 0;
    };
    bench->discard(every_other_page(10));
    CHECK(bench->counters().discarded_bytes.value() == 10 * page);
    CHECK(bench->counters().failed_ranges.value() == 0);
    CHECK(bench->calls.count(Call::Kind::madvise) == 10);
  }
}

TEST_CASE("a kernel without the vectored call is noticed at start") {
  RecordingCalls calls;
  calls.error = [](const Call& call) {
    return call.kind == Call::Kind::process_madvise ? EINVAL : 0;
  };
  const auto memory = GuestMemory::create(ram_bytes, Backing::small_pages);
  REQUIRE(memory);
  const auto engine = DiscardEngine::create(*memory, {}, calls);
  REQUIRE(engine);
  CHECK_FALSE(engine->vectored());
}

TEST_CASE("a call that claims success without discarding does not pass the probe") {
  class LyingCalls final : public vmm::DiscardCalls {
   public:
    int madvise(std::byte*, std::size_t, int) override { return 0; }
    std::expected<std::size_t, int> process_madvise(int, std::span<const iovec> ranges,
                                                    int) override {
      std::size_t bytes = 0;
      for (const iovec& range : ranges) {
        bytes += range.iov_len;
      }
      return bytes;
    }
    int punch_hole(int, std::uint64_t, std::uint64_t) override { return 0; }
  } calls;
  CHECK_FALSE(vmm::SelfPidfd::probe(calls).works());
}

TEST_CASE("a range that cannot be discarded is declined; the others are not affected") {
  for (const Backing backing : {Backing::small_pages, Backing::memfd}) {
    CAPTURE(vmm::name_of(backing));
    const auto bench = Bench::create(backing);
    REQUIRE(bench);
    // The 64 KiB run fails, alone and in company.
    bench->calls.limit = [](const Call&) { return page; };
    bench->calls.error = [](const Call& call) {
      return call.kind != Call::Kind::process_madvise && call.bytes == 64 * kib ? ENOMEM : 0;
    };
    bench->discard({range(0, 0), range(64 * kib, 3), range(96 * kib, 3), range(4 * mib, 0)});
    CHECK(bench->answer.outcome(0) == Outcome::discarded);
    CHECK(bench->answer.outcome(1) == Outcome::declined);
    CHECK(bench->answer.outcome(2) == Outcome::declined);
    CHECK(bench->answer.outcome(3) == Outcome::discarded);
    CHECK(bench->counters().failed_ranges.value() == 2);
    CHECK(bench->counters().discarded_bytes.value() == 2 * page);
    CHECK(bench->counters().declined_bytes.value() == 64 * kib);
    CHECK(bench->kept(64 * kib, 128 * kib));
  }
}

TEST_CASE("passing errors are retried, but not without end") {
  for (const int error : {EAGAIN, EINTR}) {
    for (const Backing backing : {Backing::small_pages, Backing::memfd}) {
      CAPTURE(error);
      CAPTURE(vmm::name_of(backing));
      const auto passing = Bench::create(backing);
      REQUIRE(passing);
      int failures = 3;
      passing->calls.error = [&](const Call&) { return failures-- > 0 ? error : 0; };
      passing->discard(every_other_page(4));
      CHECK(passing->counters().discarded_bytes.value() == 4 * page);
      CHECK(passing->counters().retries.value() == 3);

      const auto lasting = Bench::create(backing);
      REQUIRE(lasting);
      lasting->calls.error = [&](const Call&) { return error; };
      lasting->discard(every_other_page(4));
      CHECK(lasting->counters().discarded_bytes.value() == 0);
      CHECK(lasting->counters().declined_bytes.value() == 4 * page);
      CHECK(lasting->counters().failed_ranges.value() == 4);
      CHECK(lasting->calls.calls.size() <= 4 * 2 * 9);
      CHECK(lasting->counters().calls.value() == lasting->calls.calls.size());
    }
  }
}
