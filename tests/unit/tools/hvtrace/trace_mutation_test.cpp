// SPDX-License-Identifier: MIT
// What `hvtrace check` is worth: a trace of every kind of record, at every level, with one record
// removed, doubled or out of its place, and sequences that hide it. (That the sequences alone give
// away any such change is in trace_check_test.cpp.)
//
// Harmless by nature, and so not found:
//   boot, workload_begin, workload_end, mode, hypercall, resident, free_memory, held_memory,
//   refault
//              tell of the run, not of the protocol: nothing depends on them
//   doorbell   says when to look; a host may look without one, and twice
//   fault      decides nothing but whether an answer is owed: only the record of a batch that is
//              never answered matters, and it may come at any time before the end, any number of
//              times
//   quarantine the guest may give up on a batch whenever it likes, and say so again
//   guest_lost makes the check believe less; so it is not in this trace
//   the last end of the discards of a batch that is never answered: they may come again and again,
//              and the run may end in the middle of one
//   allocate   below level `all` frees are not recorded, so that two allocations in a row are
//              ordinary: only the one allocation between two hints of a block matters
//   two records of different batches or blocks in the other order: nothing connects them
#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/trace_file.hpp"

using abi::TraceEvent;
using abi::TraceLevel;
using abi::TraceRecord;
using Records = std::vector<TraceRecord>;

namespace {

constexpr std::uint64_t dropped_batch = 100;
constexpr std::uint64_t lost_answer_batch = 101;

hvtrace::CheckResult check(Records records, TraceLevel level) {
  test_support::renumber(records);
  const auto bytes = test_support::trace_bytes(test_support::trace_header(level), records);
  const auto file = hvtrace::TraceFile::parse(bytes, "test");
  REQUIRE(file);
  return hvtrace::check(*file);
}

bool is_block(TraceEvent event) {
  return event == TraceEvent::allocate || event == TraceEvent::free || event == TraceEvent::unused;
}

bool is_recorded(const TraceRecord& record, TraceLevel level) {
  switch (record.event) {
  case TraceEvent::range:
  case TraceEvent::outcome:
    return level >= TraceLevel::ranges;
  case TraceEvent::allocate:
    return level == TraceLevel::all || (level == TraceLevel::ranges && record.count != 0);
  case TraceEvent::free:
  case TraceEvent::unused:
  case TraceEvent::refault:
  case TraceEvent::hypercall:
    return level == TraceLevel::all;
  default:
    return true;
  }
}

// Three rounds of three blocks, so that a removed allocation shows at the next hint and a removed
// free likewise; a block that comes back unused; a batch that is delayed, one that is dropped,
// discarded late and again, and given up on; one whose answer found no room.
Records eventful_run(TraceLevel level) {
  test_support::TraceBuilder trace;
  const std::vector<std::uint64_t> blocks{8 << 20, 10 << 20, 12 << 20};
  trace.add({.event = TraceEvent::mode});
  trace.add({.value = 3, .event = TraceEvent::hypercall});
  for (std::uint64_t round = 0; round < 3; ++round) {
    const std::uint32_t reported = round == 0 ? 0 : 512;
    for (const std::uint64_t gpa : blocks) {
      trace.block(TraceEvent::allocate, gpa, 9, reported);
    }
    trace.add({.event = TraceEvent::resident});
    trace.add({.event = TraceEvent::free_memory});
    trace.add({.event = TraceEvent::held_memory});
    for (const std::uint64_t gpa : blocks) {
      trace.block(TraceEvent::free, gpa, 9);
    }
    trace.batch(1 + round, 9, blocks);
    trace.add({.address = blocks[0], .value = 4096, .event = TraceEvent::refault});
  }
  // Taken out of what was reported, put back untouched, and taken out again.
  for (unsigned turn = 0; turn < 2; ++turn) {
    trace.block(TraceEvent::allocate, blocks[0], 9, 512);
    trace.block(TraceEvent::unused, blocks[0], 9, 1);
  }
  trace.block(TraceEvent::allocate, blocks[0], 9, 512);
  trace.block(TraceEvent::free, blocks[0], 9);
  trace.batch(4, 9, std::span(blocks).first(1));
  const auto begin = [&trace](std::uint64_t id, std::uint64_t gpa) {
    trace.block(TraceEvent::allocate, gpa, 9);
    trace.block(TraceEvent::free, gpa, 9);
    trace.add({.value = id, .count = 1, .event = TraceEvent::submit});
    trace.add({.value = id, .count = 1, .event = TraceEvent::batch, .detail = 1});
    trace.add({.address = gpa, .value = id, .event = TraceEvent::range, .order = 9});
  };
  begin(dropped_batch, 16 << 20);
  trace.add({.value = dropped_batch,
             .event = TraceEvent::fault,
             .detail = static_cast<std::uint8_t>(abi::TraceFault::drop)});
  for (unsigned turn = 0; turn < 3; ++turn) {
    trace.add({.value = dropped_batch, .event = TraceEvent::discard_begin});
    trace.add({.value = dropped_batch, .event = TraceEvent::discard_end});
  }
  begin(lost_answer_batch, 20 << 20);
  trace.add({.value = lost_answer_batch, .event = TraceEvent::discard_begin});
  trace.add({.value = lost_answer_batch, .event = TraceEvent::discard_end});
  trace.add({.value = lost_answer_batch, .event = TraceEvent::answer_dropped});
  Records records = trace.finish();
  std::erase_if(records,
                [level](const TraceRecord& record) { return !is_recorded(record, level); });
  return records;
}

enum class Mutation : std::uint8_t { remove, duplicate, swap_with_next };
constexpr std::array mutations{Mutation::remove, Mutation::duplicate, Mutation::swap_with_next};

Records mutate(Records records, std::size_t at, Mutation mutation) {
  const auto where = records.begin() + static_cast<std::ptrdiff_t>(at);
  switch (mutation) {
  case Mutation::remove:
    records.erase(where);
    break;
  case Mutation::duplicate:
    records.insert(where, TraceRecord(*where));
    break;
  case Mutation::swap_with_next:
    std::iter_swap(where, where + 1);
    break;
  }
  return records;
}

bool matters(TraceEvent event) {
  switch (event) {
  case TraceEvent::boot:
  case TraceEvent::doorbell:
  case TraceEvent::workload_begin:
  case TraceEvent::workload_end:
  case TraceEvent::mode:
  case TraceEvent::hypercall:
  case TraceEvent::resident:
  case TraceEvent::free_memory:
  case TraceEvent::held_memory:
  case TraceEvent::refault:
  case TraceEvent::guest_lost:
  case TraceEvent::none:
    return false;
  default:
    return true;
  }
}

// Nothing of the dropped batch's is discarded after it.
bool is_last_discard(const Records& records, std::size_t at) {
  const auto is_discard = [](const TraceRecord& record) {
    return record.value == dropped_batch &&
           (record.event == TraceEvent::discard_begin || record.event == TraceEvent::discard_end);
  };
  return is_discard(records[at]) &&
         std::none_of(records.begin() + static_cast<std::ptrdiff_t>(at) + 1, records.end(),
                      is_discard);
}

// Whether the block is hinted before it and hinted after it, and not allocated otherwise between.
bool is_only_allocation(const Records& records, std::size_t at) {
  const auto is_same = [&](const TraceRecord& record) {
    return record.address == records[at].address &&
           (record.event == TraceEvent::allocate || record.event == TraceEvent::range);
  };
  const auto here = records.begin() + static_cast<std::ptrdiff_t>(at);
  const auto after = std::find_if(here + 1, records.end(), is_same);
  const auto before = std::find_if(std::make_reverse_iterator(here), records.rend(), is_same);
  return after != records.end() && after->event == TraceEvent::range && before != records.rend() &&
         before->event == TraceEvent::range;
}

// Of two neighbours: whether they are about one batch, or one block, and told apart by more than
// their time.
bool belong_together(const TraceRecord& one, const TraceRecord& other) {
  if (is_block(one.event) && is_block(other.event)) {
    return one.address == other.address && one.event != other.event;
  }
  return !is_block(one.event) && !is_block(other.event) && one.value == other.value &&
         one.event != TraceEvent::fault && other.event != TraceEvent::fault;
}

bool is_harmful(const Records& records, std::size_t at, Mutation mutation, TraceLevel level) {
  const TraceRecord& record = records[at];
  if (!matters(record.event)) {
    return false;
  }
  switch (mutation) {
  case Mutation::remove:
    return !is_last_discard(records, at) &&
           (record.event != TraceEvent::allocate || level == TraceLevel::all ||
            is_only_allocation(records, at));
  case Mutation::duplicate:
    return record.event != TraceEvent::fault &&
           (record.event != TraceEvent::allocate || level == TraceLevel::all);
  case Mutation::swap_with_next:
    return at + 1 < records.size() && matters(records[at + 1].event) &&
           (belong_together(record, records[at + 1]) || records[at + 1].event == TraceEvent::end);
  }
  return false;
}

} // namespace

TEST_CASE("trace mutation: the trace as it is passes, at every level") {
  for (const TraceLevel level : {TraceLevel::batches, TraceLevel::ranges, TraceLevel::all}) {
    CAPTURE(static_cast<int>(level));
    const auto result = check(eventful_run(level), level);
    CHECK_MESSAGE(result.violation_count == 0,
                  (result.violations.empty() ? "" : result.violations[0].text));
    CHECK(result.guest_complete);
  }
}

TEST_CASE("trace mutation: every harmful change of one record is found, at every level") {
  for (const TraceLevel level : {TraceLevel::batches, TraceLevel::ranges, TraceLevel::all}) {
    CAPTURE(static_cast<int>(level));
    const Records whole = eventful_run(level);
    std::set<std::pair<TraceEvent, Mutation>> tried;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const Mutation mutation : mutations) {
        CAPTURE(at);
        CAPTURE(static_cast<int>(whole[at].event));
        CAPTURE(static_cast<int>(mutation));
        const bool is_swap = mutation == Mutation::swap_with_next;
        if (is_harmful(whole, at, mutation, level)) {
          tried.insert({whole[at].event, mutation});
          CHECK(check(mutate(whole, at, mutation), level).violation_count != 0);
        } else if (!matters(whole[at].event) &&
                   (!is_swap ||
                    (at + 1 < whole.size() && whole[at + 1].event != TraceEvent::end))) {
          // And what is harmless is not objected to.
          CHECK(check(mutate(whole, at, mutation), level).violation_count == 0);
        }
      }
    }
    // Every kind that matters was there, and at this level, to be removed.
    for (const abi::TraceEventText& text : abi::trace_event_texts) {
      CAPTURE(text.name);
      const bool present = std::ranges::any_of(
          whole, [&](const TraceRecord& record) { return record.event == text.event; });
      CHECK((present && matters(text.event)) == tried.contains({text.event, Mutation::remove}));
      CHECK((present || text.event == TraceEvent::guest_lost ||
             text.event == TraceEvent::quarantine || text.event == TraceEvent::continued ||
             level != TraceLevel::all));
    }
  }
}

TEST_CASE(
    "trace mutation: a batch without an answer needs a fault or a quarantine, either will do") {
  const auto violations = [](TraceEvent excuse, TraceLevel level) {
    test_support::TraceBuilder trace;
    trace.add({.value = 1, .count = 0, .event = TraceEvent::submit});
    trace.add({.value = 1, .count = 0, .event = TraceEvent::batch, .detail = 0});
    trace.add(
        {.value = 1, .event = excuse, .detail = static_cast<std::uint8_t>(abi::TraceFault::stall)});
    return check(trace.finish(), level).violation_count;
  };
  for (const TraceLevel level : {TraceLevel::batches, TraceLevel::ranges, TraceLevel::all}) {
    CHECK(violations(TraceEvent::fault, level) == 0);
    CHECK(violations(TraceEvent::quarantine, level) == 0);
    CHECK(violations(TraceEvent::doorbell, level) == 1);
  }
}
