// SPDX-License-Identifier: MIT
#include "tools/hvtrace/check.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/trace_file.hpp"

using abi::TraceEvent;
using abi::TraceLevel;
using abi::TraceRecord;
using Records = std::vector<TraceRecord>;

namespace {

hvtrace::CheckResult
check(const Records& records,
      const abi::TraceHeader& header = test_support::trace_header(TraceLevel::all)) {
  const std::vector<std::byte> bytes = test_support::trace_bytes(header, records);
  const auto file = hvtrace::TraceFile::parse(bytes, "test");
  REQUIRE(file);
  return hvtrace::check(*file);
}

hvtrace::CheckResult check_renumbered(Records records) {
  test_support::renumber(records);
  return check(records);
}

std::string first_of(const hvtrace::CheckResult& result) {
  return result.violations.empty() ? "nothing" : result.violations[0].text;
}

} // namespace

TEST_CASE("trace check: an orderly run has no violations") {
  const auto result = check(test_support::orderly_run());
  CHECK_MESSAGE(result.violation_count == 0, first_of(result));
  CHECK_FALSE(result.incomplete);
  CHECK(result.guest_complete);
}

TEST_CASE("trace check: any record missing, doubled or swapped shows in the numbers") {
  const Records whole = test_support::orderly_run();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    Records removed = whole;
    removed.erase(removed.begin() + static_cast<std::ptrdiff_t>(at));
    // Without the last one the rest is in order; only its being the end gives it away.
    CHECK(check(removed).violation_count != 0);
    Records doubled = whole;
    doubled.insert(doubled.begin() + static_cast<std::ptrdiff_t>(at), whole[at]);
    CHECK(check(doubled).violation_count != 0);
    if (at + 1 < whole.size()) {
      Records swapped = whole;
      std::swap(swapped[at], swapped[at + 1]);
      CHECK(check(swapped).violation_count != 0);
    }
  }
}

TEST_CASE("trace check: names what is wrong") {
  SUBCASE("hint in flight") {
    test_support::TraceBuilder trace;
    trace.block(TraceEvent::allocate, 8 << 20, 9);
    trace.block(TraceEvent::free, 8 << 20, 9);
    for (const std::uint64_t id : {1U, 2U}) {
      trace.add({.value = id, .count = 1, .event = TraceEvent::submit});
      trace.add({.value = id, .count = 1, .event = TraceEvent::batch, .detail = 1});
      trace.add({.address = 8 << 20, .value = id, .event = TraceEvent::range, .order = 9});
    }
    CHECK(first_of(check(trace.finish())) ==
          "batch 2 of channel 0 hints 0x800000, which is in flight");
  }
  SUBCASE("allocation in flight") {
    test_support::TraceBuilder trace;
    trace.block(TraceEvent::allocate, 8 << 20, 9);
    trace.block(TraceEvent::free, 8 << 20, 9);
    trace.add({.value = 1, .count = 1, .event = TraceEvent::submit});
    trace.add({.value = 1, .count = 1, .event = TraceEvent::batch, .detail = 1});
    trace.add({.address = 8 << 20, .value = 1, .event = TraceEvent::range, .order = 9});
    trace.block(TraceEvent::allocate, (8 << 20) + 4096, 0);
    CHECK(first_of(check(trace.finish())) == "allocation of 0x801000, which is in flight");
  }
  SUBCASE("hint of memory in use") {
    test_support::TraceBuilder trace;
    trace.block(TraceEvent::allocate, 8 << 20, 9);
    const std::vector<std::uint64_t> blocks{8 << 20};
    trace.batch(1, 9, blocks);
    CHECK(first_of(check(trace.finish())) ==
          "batch 1 of channel 0 hints 0x800000, which is in use");
  }
  SUBCASE("answer without a submission, and twice") {
    test_support::TraceBuilder trace;
    trace.add({.value = 7, .event = TraceEvent::answer});
    CHECK(first_of(check(trace.finish())) ==
          "an answer to batch 7 of channel 0, which was not submitted");
  }
  SUBCASE("discard after the answer") {
    Records records = test_support::orderly_run(1);
    const auto is_begin = [](const TraceRecord& record) {
      return record.event == TraceEvent::discard_begin;
    };
    const auto begin = std::ranges::find_if(records, is_begin);
    const TraceRecord copy = *begin;
    const auto answer = std::ranges::find(records, TraceEvent::answer, &TraceRecord::event);
    records.insert(answer + 1, copy);
    CHECK(first_of(check_renumbered(records)) ==
          "discard for batch 1 of channel 0 after its answer");
  }
}

TEST_CASE("trace check: never answered is broken, quarantined is not") {
  test_support::TraceBuilder trace;
  trace.add({.value = 1, .count = 1, .event = TraceEvent::submit});
  SUBCASE("open") {
    CHECK(first_of(check(trace.finish())) == "batch 1 of channel 0 was never answered");
  }
  SUBCASE("quarantined") {
    trace.add({.value = 1, .event = TraceEvent::quarantine});
    CHECK(check(trace.finish()).violation_count == 0);
  }
}

TEST_CASE("trace check: a trace without its end is incomplete and nothing worse, at any length") {
  const Records whole = test_support::orderly_run();
  abi::TraceHeader header = test_support::trace_header(TraceLevel::all);
  header.finished = 0;
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    const Records part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    const auto result = check(part, header);
    CHECK_MESSAGE(result.violation_count == 0, first_of(result));
    CHECK(result.incomplete);
    // The same with the last two never completed by their writers.
    Records torn = part;
    for (std::size_t index = length < 2 ? 0 : length - 2; index < length; ++index) {
      torn[index] = {};
    }
    CHECK(check(torn, header).violation_count == 0);
  }
}

TEST_CASE("trace check: spans may enclose what is reported, hints within them are no overlap") {
  test_support::TraceBuilder trace;
  trace.block(TraceEvent::allocate, 8 << 20, 9);
  trace.block(TraceEvent::free, 8 << 20, 9);
  const std::vector<std::uint64_t> blocks{8 << 20};
  trace.batch(1, 9, blocks);
  trace.block(TraceEvent::allocate, 8 << 20, 0, 1);
  trace.block(TraceEvent::free, 8 << 20, 0);
  const auto range = [&](TraceEvent event, std::uint32_t index, std::uint8_t order,
                         std::uint8_t detail) {
    trace.add({.address = 8 << 20,
               .value = 2,
               .count = index,
               .event = event,
               .order = order,
               .detail = detail});
  };
  trace.add({.value = 2, .count = 2, .event = TraceEvent::submit});
  trace.add({.value = 2, .count = 2, .event = TraceEvent::batch, .detail = 1});
  range(TraceEvent::range, 0, 9, 1);
  range(TraceEvent::range, 1, 0, 0);
  trace.add({.value = 2, .event = TraceEvent::discard_begin});
  trace.add({.value = 2, .event = TraceEvent::discard_end});
  range(TraceEvent::outcome, 0, 9, abi::trace_detail(1, 1));
  range(TraceEvent::outcome, 1, 0, abi::trace_detail(0, 1));
  trace.add({.value = 2, .count = 2, .event = TraceEvent::answer});
  trace.add({.value = 2, .count = 2, .event = TraceEvent::drain});
  const auto result = check(trace.finish());
  CHECK_MESSAGE(result.violation_count == 0, first_of(result));
}

TEST_CASE("trace check: a trace that begins in the middle of a run is held to what it can know") {
  // Cut at each record: what comes is no violation, whatever was in flight.
  const Records whole = test_support::orderly_run(3);
  for (std::size_t at = 3; at + 1 < whole.size(); ++at) {
    CAPTURE(at);
    if (whole[at].event == TraceEvent::range || whole[at].event == TraceEvent::outcome ||
        whole[at].event == TraceEvent::answer) {
      continue; // are recorded in one piece with what is before them
    }
    Records later(whole.begin() + static_cast<std::ptrdiff_t>(at), whole.end());
    later.insert(later.begin(),
                 {{.value = at, .event = TraceEvent::continued, .detail = 1}, whole[1]});
    const auto result = check_renumbered(later);
    CHECK_MESSAGE(result.violation_count == 0, first_of(result));
    CHECK(result.guest_complete);
    // What went wrong after that is still found.
    later.insert(later.end() - 2, later.back());
    CHECK(check_renumbered(later).violation_count != 0);
  }
  Records twice = whole;
  twice.insert(twice.begin() + 5, {.event = TraceEvent::continued, .detail = 1});
  CHECK(first_of(check_renumbered(twice)) == "a trace begins in the middle of another");
}

TEST_CASE("trace check: memory in use that is hinted is found in the middle of a run, too") {
  test_support::TraceBuilder trace;
  const std::vector<std::uint64_t> blocks{8 << 20};
  trace.block(TraceEvent::allocate, blocks[0], 9);
  trace.batch(1, 9, blocks);
  Records records = trace.finish();
  records.erase(records.begin());
  records.insert(records.begin(), {.event = TraceEvent::continued, .detail = 1});
  CHECK(first_of(check_renumbered(records)) ==
        "batch 1 of channel 0 hints 0x800000, which is in use");
}
