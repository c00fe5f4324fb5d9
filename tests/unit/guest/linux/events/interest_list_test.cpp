// SPDX-License-Identifier: MIT
#include "guest/linux/events/interest_list.hpp"

#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "guest/linux/events/event_counter.hpp"
#include "guest/linux/files/pipe.hpp"

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)

// A table of descriptors with lists in it.
struct Table {
  std::uint64_t add(File* file) {
    return static_cast<std::uint64_t>(
        files.add(std::make_unique<OpenFile>(file, std::uint32_t{O_RDWR}, Text{})).value());
  }
  std::uint64_t add_list() { return add(new InterestList); }
  std::pair<std::uint64_t, std::uint64_t> add_pipe() {
    const PipeEnds ends = make_pipe(1);
    const std::uint64_t reader = add(ends.reader);
    return {reader, add(ends.writer)};
  }
  InterestList& at(std::uint64_t descriptor) { return *files.get(descriptor)->file->interests(); }
  int want(std::uint64_t list, std::uint64_t of, std::uint32_t events) {
    return at(list).add(files.share(list), {of, files.share(of)}, {events, of});
  }
  void put(std::uint64_t to, std::size_t bytes = 1) {
    const std::vector<std::byte> some(bytes);
    CHECK(files.get(to)->file->write(0, some) == bytes);
  }
  void take(std::uint64_t from, std::size_t bytes = 1) {
    std::vector<std::byte> some(bytes);
    CHECK(files.get(from)->file->read(0, some).has_value());
  }
  std::uint32_t told(std::uint64_t list) {
    const auto events = at(list).take(8);
    return events.empty() ? 0 : events.front().events;
  }

  OpenFiles files;
};

} // namespace

TEST_CASE("interest list: a number that is closed and given again is another file") {
  Table table;
  const std::uint64_t list = table.add_list();
  for (int round = 0; round < 3; ++round) {
    const auto [reader, writer] = table.add_pipe();
    REQUIRE(table.want(list, reader, EPOLLIN | EPOLLET) == 0);
    CHECK(table.want(list, reader, EPOLLIN) == EEXIST);
    table.put(writer);
    CHECK(table.told(list) == EPOLLIN);
    CHECK(table.told(list) == 0);
    REQUIRE(table.files.remove(reader) == 0);
    const std::uint64_t counter = table.add(new EventCounter(1, EventCounter::Reading::all));
    REQUIRE(counter == reader);
    CHECK(table.told(list) == 0);
    CHECK(table.want(list, counter, EPOLLIN | EPOLLET) == 0);
    CHECK(table.told(list) == EPOLLIN);
    REQUIRE(table.files.remove(counter) == 0);
    REQUIRE(table.files.remove(writer) == 0);
  }
  CHECK(table.at(list).take(8).empty());
}

TEST_CASE("interest list: a copy keeps a file in it, whatever becomes of the first descriptor") {
  Table table;
  const std::uint64_t list = table.add_list();
  const auto [reader, writer] = table.add_pipe();
  REQUIRE(table.want(list, reader, EPOLLIN) == 0);
  const auto copy = static_cast<std::uint64_t>(table.files.duplicate(reader, 0).value());
  table.put(writer);
  REQUIRE(table.files.remove(reader) == 0);
  CHECK(table.told(list) == EPOLLIN);
  CHECK(table.at(list).remove({copy, table.files.share(copy)}) == ENOENT);
  REQUIRE(table.files.remove(copy) == 0);
  CHECK(table.told(list) == 0);
}

TEST_CASE("interest list: every one of many that are ready has its turn") {
  Table table;
  const std::uint64_t list = table.add_list();
  std::set<std::uint64_t> wanted;
  for (int count = 0; count < 5; ++count) {
    const std::uint64_t counter = table.add(new EventCounter(1, EventCounter::Reading::all));
    REQUIRE(table.want(list, counter, EPOLLIN) == 0);
    wanted.insert(counter);
  }
  std::set<std::uint64_t> told;
  for (int turn = 0; turn < 3; ++turn) {
    for (const InterestList::Event& event : table.at(list).take(2)) {
      told.insert(event.data);
    }
  }
  CHECK(told == wanted);
}

TEST_CASE("interest list: an edge is told once, and not lost while nothing is ready") {
  Table table;
  const std::uint64_t list = table.add_list();
  const auto [reader, writer] = table.add_pipe();
  REQUIRE(table.want(list, reader, EPOLLIN | EPOLLET) == 0);
  CHECK(table.told(list) == 0);
  CHECK(table.at(list).ready_for(abi::file_readable) == Readiness{0});
  table.put(writer);
  table.take(reader);
  CHECK(table.told(list) == 0);
  table.put(writer);
  CHECK(table.at(list).ready_for(abi::file_readable) == abi::file_readable);
  CHECK(table.at(list).ready_for(abi::file_readable) ==
        abi::file_readable); // looking takes nothing
  CHECK(table.told(list) == EPOLLIN);
  CHECK(table.at(list).ready_for(abi::file_readable) == Readiness{0});
  REQUIRE(table.files.remove(writer) == 0);
  CHECK(table.told(list) == (EPOLLIN | EPOLLHUP));
  CHECK(table.told(list) == 0);
}

TEST_CASE("interest list: lists in lists, but neither in a circle nor too deeply") {
  Table table;
  const auto [reader, writer] = table.add_pipe();
  std::vector<std::uint64_t> lists;
  for (int count = 0; count < 8; ++count) {
    lists.push_back(table.add_list());
  }
  REQUIRE(table.want(lists[0], lists[1], EPOLLIN) == 0);
  REQUIRE(table.want(lists[1], lists[2], EPOLLIN) == 0);
  CHECK(table.want(lists[2], lists[0], EPOLLIN) == ELOOP);
  CHECK(table.want(lists[1], lists[0], EPOLLIN) == ELOOP);
  REQUIRE(table.want(lists[2], reader, EPOLLIN) == 0);
  CHECK(table.told(lists[0]) == 0);
  table.put(writer);
  CHECK(table.told(lists[0]) == EPOLLIN);
  REQUIRE(table.want(lists[2], lists[3], EPOLLIN) == 0);
  REQUIRE(table.want(lists[3], lists[4], EPOLLIN) == 0);
  CHECK(table.want(lists[4], lists[5], EPOLLIN) == ELOOP); // from above
  REQUIRE(table.want(lists[6], lists[5], EPOLLIN) == 0);
  CHECK(table.want(lists[7], lists[0], EPOLLIN) == ELOOP); // from below
  REQUIRE(table.files.remove(lists[2]) == 0);
  CHECK(table.want(lists[1], lists[0], EPOLLIN) == ELOOP);
  CHECK(table.want(lists[4], lists[5], EPOLLIN) == 0); // the chain is cut
}
