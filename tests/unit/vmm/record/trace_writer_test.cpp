// SPDX-License-Identifier: MIT
#include "vmm/record/trace_writer.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include <doctest/doctest.h>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/trace_file.hpp"

using hvtrace::TraceFile;
using vmm::TraceWriter;

namespace {

// A file that is gone when the test is.
class TemporaryPath {
 public:
  explicit TemporaryPath(const char* name)
      : path_((std::filesystem::temp_directory_path() /
               (std::string(name) + std::to_string(::getpid())))
                  .string()) {}
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& text() const { return path_; }

 private:
  std::string path_;
};

abi::TraceHeader open_header(std::uint64_t capacity = 0) {
  abi::TraceHeader header = test_support::trace_header(abi::TraceLevel::all);
  header.finished = 0;
  header.capacity = capacity;
  header.storage = capacity == 0 ? abi::TraceStorage::file : abi::TraceStorage::ring;
  return header;
}

std::unique_ptr<TraceWriter> writer_for(const TemporaryPath& path, std::uint64_t capacity = 0) {
  auto writer = TraceWriter::create(path.text(), open_header(capacity));
  REQUIRE_MESSAGE(writer, writer.error().message);
  return std::move(*writer);
}

} // namespace

TEST_CASE("trace writer: several threads lose nothing and tear nothing") {
  constexpr std::uint64_t each = 20'000;
  const TemporaryPath path("ebb-trace-threads");
  auto writer = writer_for(path);
  std::vector<std::thread> threads;
  for (std::uint8_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&writer, thread] {
      for (std::uint64_t index = 0; index < each; ++index) {
        writer->append({.address = index,
                        .value = index ^ thread,
                        .event = abi::TraceEvent::doorbell,
                        .channel = thread});
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  writer->finish();
  const auto file = TraceFile::open(path.text());
  REQUIRE(file);
  CHECK(file->finished());
  CHECK(file->end() == 4 * each + 1);
  std::array<std::uint64_t, 4> next{};
  for (std::uint64_t number = 1; number < file->end(); ++number) {
    const auto record = file->at(number);
    REQUIRE(record);
    REQUIRE(record->address == next.at(record->channel)++);
    REQUIRE(record->value == (record->address ^ record->channel));
  }
  CHECK(std::filesystem::file_size(path.text()) ==
        abi::trace_header_bytes + 4 * each * sizeof(abi::TraceRecord));
}

TEST_CASE("trace writer: grows beyond its first piece when its thread runs") {
  const TemporaryPath path("ebb-trace-grows");
  auto writer = writer_for(path);
  std::atomic<std::uint64_t> ticks{0};
  writer->start(std::chrono::milliseconds(1), [&ticks] {
    ++ticks;
    ticks.notify_all();
  });
  // 60 MB in pieces of 4 MB, each after two turns of the thread: it had its chance to keep ahead.
  for (int piece = 0; piece < 15; ++piece) {
    const std::uint64_t seen = ticks.load();
    for (int index = 0; index < 100'000; ++index) {
      writer->append({.event = abi::TraceEvent::doorbell});
    }
    while (ticks.load() < seen + 2) {
      ticks.wait(ticks.load());
    }
  }
  writer->finish();
  const auto file = TraceFile::open(path.text());
  REQUIRE(file);
  CHECK(file->header().lost == 0);
  CHECK(file->end() == 1'500'001);
  CHECK(file->at(1'500'000));
}

TEST_CASE("trace writer: without room records are lost and counted") {
  const TemporaryPath path("ebb-trace-lost");
  auto writer = writer_for(path); // its thread never starts, so the first piece is all there is
  for (int index = 0; index < 500'000; ++index) {
    writer->append({.event = abi::TraceEvent::doorbell});
  }
  writer->finish();
  const auto file = TraceFile::open(path.text());
  REQUIRE(file);
  CHECK(file->header().lost != 0);
  CHECK(file->header().lost + file->end() - 1 == 500'000);
  CHECK(file->at(file->end() - 1));
}

TEST_CASE("trace writer: a ring keeps the last records") {
  constexpr std::uint64_t capacity = 1000;
  const TemporaryPath path("ebb-trace-ring");
  auto writer = writer_for(path, capacity);
  for (std::uint64_t index = 1; index <= 12'345; ++index) {
    writer->append({.address = index, .event = abi::TraceEvent::doorbell});
  }
  writer->finish();
  const auto file = TraceFile::open(path.text());
  REQUIRE(file);
  CHECK(file->first() == 12'345 - capacity + 1);
  for (std::uint64_t number = file->first(); number < file->end(); ++number) {
    REQUIRE(file->at(number));
    CHECK(file->at(number)->address == number);
  }
}

TEST_CASE("trace writer: a killed writer leaves what it wrote") {
  const TemporaryPath path("ebb-trace-killed");
  auto records = test_support::orderly_run(100);
  records.resize(records.size() - 5);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto writer = TraceWriter::create(path.text(), open_header());
    for (const abi::TraceRecord& record : records) {
      (*writer)->append(record);
    }
    (*writer)->claim(3); // and dies before it fills these
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  const auto file = TraceFile::open(path.text());
  REQUIRE(file);
  CHECK_FALSE(file->finished());
  for (std::uint64_t number = 1; number <= records.size(); ++number) {
    REQUIRE(file->at(number));
  }
  const auto result = hvtrace::check(*file);
  CHECK(result.violation_count == 0);
  CHECK(result.incomplete);
  CHECK(result.records == records.size());
}

TEST_CASE("trace writer: paths that cannot be are the user's mistake") {
  for (const char* path : {"/", "/dev/null", "/nonexistent/trace"}) {
    const auto writer = TraceWriter::create(path, open_header());
    REQUIRE_FALSE(writer);
    CHECK(writer.error().error_class == vmm::ErrorClass::user);
  }
}
