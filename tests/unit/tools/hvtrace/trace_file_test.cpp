// SPDX-License-Identifier: MIT
#include "tools/hvtrace/trace_file.hpp"

#include <doctest/doctest.h>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/info.hpp"

using hvtrace::TraceFile;
using test_support::trace_bytes;
using test_support::trace_header;

namespace {

std::string error_of(std::span<const std::byte> bytes) {
  const auto file = TraceFile::parse(bytes, "t");
  return file ? "" : file.error().message;
}

} // namespace

TEST_CASE("trace file: what is no trace is refused in one line") {
  const auto whole = trace_bytes(trace_header(abi::TraceLevel::all), test_support::orderly_run());
  for (std::size_t length = 0; length < abi::trace_header_bytes; ++length) {
    const std::string error = error_of(std::span(whole).first(length));
    CHECK_FALSE(error.empty());
    CHECK(error.find('\n') == std::string::npos);
  }
  const std::vector<std::byte> garbage(20000, std::byte{0x5a});
  CHECK(error_of(garbage) == "t: not a hypercall trace: it does not begin with EBBTRACE");
}

TEST_CASE("trace file: header fields are checked") {
  abi::TraceHeader header = trace_header(abi::TraceLevel::all);
  SUBCASE("version") {
    header.version_major = 2;
    header.version_minor = 7;
    CHECK(error_of(trace_bytes(header, {})) == "t: trace version 2.7; this hvtrace reads 1.x");
    return;
  }
  SUBCASE("record size") {
    header.record_bytes = 32;
  }
  SUBCASE("header size") {
    header.header_bytes = 8196;
  }
  SUBCASE("event count") {
    header.event_count = 65;
  }
  SUBCASE("no memory") {
    header.ram_bytes = 0;
  }
  SUBCASE("more memory than there is") {
    header.ram_bytes = std::uint64_t{1} << 50;
  }
  SUBCASE("vCPUs") {
    header.vcpus = 17;
  }
  SUBCASE("a ring of nothing") {
    header.storage = abi::TraceStorage::ring;
  }
  SUBCASE("level") {
    header.level = static_cast<abi::TraceLevel>(9);
  }
  CHECK(error_of(trace_bytes(header, {})).starts_with("t: damaged trace header"));
}

TEST_CASE("trace file: a higher minor version is read") {
  abi::TraceHeader header = trace_header(abi::TraceLevel::all);
  header.version_minor = 9;
  CHECK(error_of(trace_bytes(header, {})).empty());
}

TEST_CASE("trace file: records that the file is too short for are counted") {
  const auto records = test_support::orderly_run();
  auto bytes = trace_bytes(trace_header(abi::TraceLevel::all), records);
  bytes.resize(bytes.size() - 3 * sizeof(abi::TraceRecord) + 1);
  const auto file = TraceFile::parse(bytes, "t");
  REQUIRE(file);
  CHECK(file->cut_off() == 3);
  CHECK(file->end() == records.size() - 2);
  const hvtrace::CheckResult result = hvtrace::check(*file); // closed in order, yet not whole
  REQUIRE(!result.violations.empty());
  CHECK(result.violations.back().text == "3 records are cut off the file's end");
  CHECK(hvtrace::render_info(*file).find("3 records are cut off") != std::string::npos);
}

TEST_CASE("trace file: an absurd count reads nothing beyond the file") {
  const auto records = test_support::orderly_run();
  auto bytes = trace_bytes(trace_header(abi::TraceLevel::all), records);
  const std::uint64_t absurd = ~std::uint64_t{0};
  std::memcpy(bytes.data() + offsetof(abi::TraceHeader, claimed), &absurd, sizeof absurd);
  const auto file = TraceFile::parse(bytes, "t");
  REQUIRE(file);
  CHECK(file->end() == records.size() + 1);
  CHECK_FALSE(file->at(records.size() + 1));
  CHECK_FALSE(file->at(0));
}

TEST_CASE("trace file: a ring holds the last records") {
  constexpr std::uint64_t capacity = 8;
  const auto records = test_support::orderly_run();
  abi::TraceHeader header = trace_header(abi::TraceLevel::all);
  header.storage = abi::TraceStorage::ring;
  header.capacity = capacity;
  std::vector<abi::TraceRecord> slots(capacity);
  for (const abi::TraceRecord& record : records) {
    slots[(record.sequence - 1) % capacity] = record;
  }
  auto bytes = trace_bytes(header, slots);
  const std::uint64_t claimed = records.size();
  std::memcpy(bytes.data() + offsetof(abi::TraceHeader, claimed), &claimed, sizeof claimed);
  const auto file = TraceFile::parse(bytes, "t");
  REQUIRE(file);
  CHECK(file->first() == records.size() - capacity + 1);
  for (std::uint64_t number = file->first(); number < file->end(); ++number) {
    REQUIRE(file->at(number));
    CHECK(file->at(number)->event == records[number - 1].event);
  }
  CHECK(hvtrace::check(*file).violation_count == 0);
}

// Older writers closed a trace with lost records as if it were whole.
TEST_CASE("trace file: what lacks records or events of the guest is not complete") {
  auto records = test_support::orderly_run(3);
  abi::TraceHeader header = trace_header(abi::TraceLevel::all);
  const auto parse = [&] {
    const auto bytes = trace_bytes(header, records);
    const auto file = TraceFile::parse(bytes, "t");
    REQUIRE(file);
    return std::pair(file->finished(), hvtrace::render_info(*file));
  };
  CHECK(parse().second.find("complete   yes") != std::string::npos);
  records.push_back({.value = 9, .event = abi::TraceEvent::guest_lost});
  test_support::renumber(records);
  CHECK(parse().second.find("complete   no: 9 events of the guest were lost") != std::string::npos);
  header.lost = 7;
  const auto [finished, info] = parse();
  CHECK_FALSE(finished);
  CHECK(info.find("complete   no: 7 records were lost") != std::string::npos);
}
