// SPDX-License-Identifier: MIT
#include "vmm/record/trace_writer.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <thread>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"
#include "tests/support/temporary_path.hpp"
#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/trace_file.hpp"

using hvtrace::TraceFile;
using test_support::content;
using test_support::TemporaryFolder;
using test_support::TemporaryPath;
using test_support::write_content;
using vmm::TraceTarget;
using vmm::TraceWriter;

namespace {

abi::TraceHeader open_header(std::uint64_t capacity = 0) {
  abi::TraceHeader header = test_support::trace_header(abi::TraceLevel::all);
  header.finished = 0;
  header.capacity = capacity;
  header.storage = capacity == 0 ? abi::TraceStorage::file : abi::TraceStorage::ring;
  return header;
}

vmm::Result<std::unique_ptr<TraceWriter>> begin(const std::string& path,
                                                const abi::TraceHeader& header) {
  EBB_TRY_ASSIGN(target, TraceTarget::open(path));
  EBB_TRY_ASSIGN(writer, TraceWriter::create(std::move(target), header));
  EBB_TRY(writer->begin());
  return writer;
}

std::unique_ptr<TraceWriter> writer_for(const std::string& path, std::uint64_t capacity = 0) {
  auto writer = begin(path, open_header(capacity));
  REQUIRE_MESSAGE(writer, writer.error().message);
  return std::move(*writer);
}
std::unique_ptr<TraceWriter> writer_for(const TemporaryPath& path, std::uint64_t capacity = 0) {
  return writer_for(path.text(), capacity);
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

TEST_CASE("trace writer: grows beyond its first piece when somebody looks after it") {
  const TemporaryPath path("ebb-trace-grows");
  auto writer = writer_for(path);
  // 60 MB in pieces of 4 MB.
  for (int piece = 0; piece < 15; ++piece) {
    for (int index = 0; index < 100'000; ++index) {
      writer->append({.event = abi::TraceEvent::doorbell});
    }
    writer->keep_ahead();
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
  auto writer = writer_for(path); // nobody keeps ahead: the first piece is all there is
  for (int index = 0; index < 500'000; ++index) {
    writer->append({.event = abi::TraceEvent::doorbell});
  }
  writer->finish();
  const auto file = TraceFile::open(path.text());
  REQUIRE(file);
  CHECK(file->header().lost != 0);
  CHECK(file->header().lost + file->end() - 1 == 500'000);
  CHECK(writer->loss().lost_records == file->header().lost);
  CHECK_FALSE(writer->loss().why.empty());
  CHECK_FALSE(file->finished()); // what is missing at the end is no end
  const auto result = hvtrace::check(*file);
  CHECK(result.incomplete);
  CHECK(result.violation_count == 0);
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
    auto writer = begin(path.text(), open_header());
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

TEST_CASE("trace target: paths that cannot be are the user's mistake and stay as they are") {
  const TemporaryFolder dir;
  write_content(dir / "text", "no trace at all");
  write_content(dir / "short", "EBB");
  for (const std::string& path :
       {std::string("/"), std::string("/dev/null"), std::string("/nonexistent/trace"),
        std::string("-"), std::string("/dev/stdout"), std::string("/proc/version"), dir / "text",
        dir / "short"}) {
    CAPTURE(path);
    const auto writer = begin(path, open_header());
    REQUIRE_FALSE(writer);
    CHECK(writer.error().error_class == vmm::ErrorClass::user);
    CHECK(writer.error().message.starts_with("--trace " + path));
  }
  CHECK(content(dir / "text") == "no trace at all");
  CHECK(dir.entries() == 2);
}

TEST_CASE("trace target: nothing is made or lost before the recording begins") {
  const TemporaryFolder dir;
  writer_for(dir / "old")->finish();
  const std::string before = content(dir / "old");
  for (const char* const name : {"old", "new"}) {
    auto target = TraceTarget::open(dir / name);
    REQUIRE(target);
    CHECK(TraceWriter::create(std::move(*target), open_header()));
  }
  CHECK(content(dir / "old") == before);
  CHECK(dir.entries() == 1);
}

TEST_CASE("trace target: a limit on files refuses a trace before an older one is lost") {
  const TemporaryFolder dir;
  writer_for(dir / "old")->finish();
  const std::string before = content(dir / "old");
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit narrow{1 << 20, limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &narrow) == 0);
  for (const char* const name : {"old", "new"}) {
    const auto writer = begin(dir / name, open_header());
    REQUIRE_FALSE(writer);
    CHECK(writer.error().error_class == vmm::ErrorClass::user);
    CHECK(writer.error().message.ends_with("no room for 16 MiB: File too large"));
  }
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(content(dir / "old") == before);
  CHECK(dir.entries() == 1);
}

TEST_CASE("trace target: links stay, and a trace or an empty file is written over in place") {
  const TemporaryFolder dir;
  ::symlink("file", (dir / "dangling").c_str());
  writer_for(dir / "dangling")->finish();
  CHECK(TraceFile::open(dir / "file"));
  ::link((dir / "file").c_str(), (dir / "hard").c_str());
  auto writer = writer_for(dir / "hard");
  writer->append({.event = abi::TraceEvent::end});
  writer->finish();
  CHECK(TraceFile::open(dir / "dangling")->end() == 2);
  write_content(dir / "empty", "");
  writer_for(dir / "empty")->finish();
  CHECK(TraceFile::open(dir / "empty"));
}

TEST_CASE("trace target: two writers have not one file") {
  const TemporaryFolder dir;
  auto first = writer_for(dir / "t");
  const auto second = TraceTarget::open(dir / "t");
  REQUIRE_FALSE(second);
  CHECK(second.error().message.ends_with("another process is writing it"));
  first->append({.event = abi::TraceEvent::end});
  first->finish();
  CHECK(TraceFile::open(dir / "t")->end() == 2);
  first.reset();
  CHECK(TraceTarget::open(dir / "t"));

  // Both found nothing there; the second to begin must not take it from the first.
  auto early = TraceWriter::create(std::move(*TraceTarget::open(dir / "u")), open_header());
  auto late = TraceWriter::create(std::move(*TraceTarget::open(dir / "u")), open_header());
  REQUIRE((*early)->begin().has_value());
  const auto begun = (*late)->begin();
  REQUIRE_FALSE(begun.has_value());
  CHECK(begun.error().message.ends_with("File exists"));
}

TEST_CASE("trace writer: a file that somebody cuts is given up, not a death by SIGBUS") {
  for (const off_t left : {0, 100, 100'000}) {
    CAPTURE(left);
    const TemporaryFolder dir;
    auto writer = writer_for(dir / "t");
    for (int index = 0; index < 1000; ++index) {
      writer->append({.event = abi::TraceEvent::doorbell});
    }
    REQUIRE(::truncate((dir / "t").c_str(), left) == 0);
    for (int index = 0; index < 100'000; ++index) { // far over the end, wherever that is
      writer->append({.event = abi::TraceEvent::doorbell});
    }
    writer->finish();
    CHECK(writer->loss().lost_records != 0);
    CHECK(writer->loss().why == "the file was made shorter by somebody else");
  }
}

TEST_CASE("trace target: a file that is handed over must be one that a trace can go to") {
  const TemporaryFolder dir;
  writer_for(dir / "old")->finish();
  write_content(dir / "text", "no trace at all");
  const std::string old = content(dir / "old");
  const auto why = [](int fd) {
    const auto target = TraceTarget::take(vmm::UniqueFd(fd), "trace start: t", nullptr);
    return target ? std::string("taken") : target.error().message;
  };
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  CHECK(why(ends[1]) == "trace start: t: was not opened for reading and writing");
  ::close(ends[0]);
  CHECK(why(::socket(AF_UNIX, SOCK_STREAM, 0)) ==
        "trace start: t: not a regular file; a trace is written in place");
  CHECK(why(::open((dir / ".").c_str(), O_RDONLY)).ends_with("for reading and writing"));
  CHECK(why(::open("/dev/null", O_RDWR)).ends_with("a trace is written in place"));
  CHECK(why(::open((dir / "old").c_str(), O_RDONLY)).ends_with("for reading and writing"));
  CHECK(why(::open((dir / "old").c_str(), O_WRONLY)).ends_with("for reading and writing"));
  CHECK(why(::open((dir / "text").c_str(), O_RDWR))
            .ends_with("exists and is no trace; remove it or "
                       "name another file"));
  CHECK(why(-1).ends_with("Bad file descriptor"));
  CHECK(content(dir / "old") == old);
  CHECK(content(dir / "text") == "no trace at all");
  {
    const auto busy = begin(dir / "old", open_header());
    REQUIRE(busy);
    CHECK(why(::open((dir / "old").c_str(), O_RDWR)).ends_with("another process is writing it"));
  }
  CHECK(why(::open((dir / "old").c_str(), O_RDWR)) == "taken");
  CHECK(why(::open((dir / "new").c_str(), O_RDWR | O_CREAT, 0600)) == "taken");
}

TEST_CASE("trace target: a new file can have its name before its content") {
  const TemporaryFolder dir;
  auto target = TraceTarget::open(dir / "t");
  REQUIRE(target);
  REQUIRE(target->publish().has_value());
  CHECK(content(dir / "t").empty());
  auto writer = TraceWriter::create(std::move(*target), open_header());
  REQUIRE(writer);
  REQUIRE((*writer)->begin().has_value());
  (*writer)->finish();
  CHECK(TraceFile::open(dir / "t"));
}
