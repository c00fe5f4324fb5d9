// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/channel_port.hpp"

#include <doctest/doctest.h>

#include "tests/support/fake_report_host.hpp"

namespace {

using namespace guest::mm;
using test_support::ChannelSet;
using test_support::discard_all;
using test_support::FakeReportHost;

struct Fixture {
  Fixture() : channels(1), host(channels[0]), port(channels[0]) {}
  void submit(std::uint64_t now_ns) {
    port.blank_page()[0] = abi::RangeDescriptor::make({512}, {9}, abi::RangeKind::hint);
    static_cast<void>(port.submit({.block_frames = 512, .submit_ns = now_ns, .range_count = 1}));
  }
  ChannelSet channels;
  FakeReportHost host;
  ChannelPort port;
};

} // namespace

TEST_CASE("quarantine takes what is old enough, once, and a late answer frees the page") {
  Fixture fixture;
  fixture.submit(10);
  fixture.submit(20);
  fixture.submit(30);
  CHECK(fixture.port.awaited() == 3);
  CHECK(fixture.port.oldest_submit_ns(999) == 10);
  CHECK(fixture.port.quarantine(9) == 0);
  CHECK(fixture.port.quarantine(20) == 2 * 512);
  CHECK(fixture.port.quarantine(20) == 0);
  CHECK(fixture.port.awaited() == 1);
  CHECK(fixture.port.oldest_submit_ns(999) == 30);
  fixture.host.serve(discard_all);
  Answer answer;
  CHECK(fixture.port.take_answer(answer) == AnswerKind::fits);
  CHECK(answer.batch.quarantined);
  CHECK(answer.batch.submit_ns == 10);
  CHECK(fixture.port.awaited() == 1);
  CHECK(fixture.port.take_answer(answer) == AnswerKind::fits);
  CHECK(fixture.port.take_answer(answer) == AnswerKind::fits);
  CHECK_FALSE(answer.batch.quarantined);
  CHECK(fixture.port.awaited() == 0);
  CHECK(fixture.port.oldest_submit_ns(999) == 999);
  CHECK(fixture.port.take_answer(answer) == AnswerKind::none);
}

TEST_CASE("a port is in use until the last batch is answered, overdue or not") {
  Fixture fixture;
  CHECK_FALSE(fixture.port.is_used());
  fixture.submit(10);
  fixture.submit(20);
  CHECK(fixture.port.quarantine(20) == 2 * 512);
  CHECK(fixture.port.awaited() == 0);
  CHECK(fixture.port.is_used());
  fixture.host.serve(discard_all);
  Answer answer;
  CHECK(fixture.port.take_answer(answer) == AnswerKind::fits);
  CHECK(fixture.port.is_used());
  CHECK(fixture.port.take_answer(answer) == AnswerKind::fits);
  CHECK_FALSE(fixture.port.is_used());
}

TEST_CASE("pages of quarantined batches stay occupied") {
  Fixture fixture;
  for (unsigned batch = 0; batch < abi::ring_entries; ++batch) {
    REQUIRE(fixture.port.has_room());
    fixture.submit(batch);
  }
  const auto batches = fixture.host.take(); // ring slots are free again, pages are not
  CHECK_FALSE(fixture.port.has_room());
  CHECK(fixture.port.quarantine(100) == abi::ring_entries * 512);
  CHECK_FALSE(fixture.port.has_room());
  CHECK(fixture.port.awaited() == 0);
  fixture.host.post(FakeReportHost::answer_to(batches[5], discard_all));
  Answer answer;
  CHECK(fixture.port.take_answer(answer) == AnswerKind::fits);
  CHECK(fixture.port.has_room());
  CHECK(fixture.port.blank_page().data() == fixture.channels[0].pages[5].ranges);
}
