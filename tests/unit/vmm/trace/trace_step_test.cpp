// SPDX-License-Identifier: MIT
#include "vmm/trace/stepper.hpp"

#include <random>

#include <doctest/doctest.h>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/trace/screen.hpp"
#include "vmm/trace/step_commands.hpp"

using hvtrace::EventText;
using hvtrace::Filter;
using hvtrace::Stepper;
using hvtrace::TraceFile;

namespace {

class Session {
 public:
  explicit Session(unsigned rounds)
      : bytes_(test_support::trace_bytes(test_support::trace_header(abi::TraceLevel::all),
                                         test_support::orderly_run(rounds))),
        file_(std::move(*TraceFile::parse(bytes_, "t"))), text_(file_.header(), nullptr) {}

  [[nodiscard]] const TraceFile& file() const { return file_; }
  [[nodiscard]] std::string screen(const Stepper& stepper) const {
    return hvtrace::render_screen(stepper, text_, {});
  }

 private:
  std::vector<std::byte> bytes_;
  TraceFile file_;
  EventText text_;
};

Filter filter(const std::string& text) {
  auto parsed = Filter::parse(text);
  REQUIRE_MESSAGE(parsed, parsed.error().message);
  return *parsed;
}

} // namespace

TEST_CASE("stepper: 1,000 records back and forth again is the same state, record by record") {
  const Session session(2000);
  Stepper stepper(session.file());
  stepper.seek(25500); // a checkpoint is at 24576: the way back crosses it
  const std::string there = session.screen(stepper);
  std::vector<std::string> screens;
  for (int step = 0; step < 1000; ++step) {
    stepper.back(1);
    if (step % 50 == 0) {
      screens.push_back(session.screen(stepper));
    }
  }
  CHECK(stepper.position() == 24500);
  for (int step = 999; step >= 0; --step) {
    if (step % 50 == 0) {
      CHECK(session.screen(stepper) == screens[static_cast<std::size_t>(step / 50)]);
    }
    stepper.forward(1);
  }
  CHECK(session.screen(stepper) == there);
  stepper.back(1000);
  stepper.forward(1000);
  CHECK(session.screen(stepper) == there);
}

TEST_CASE("stepper: any way to a record shows what the straight way shows") {
  const Session session(3000);
  Stepper wandering(session.file());
  std::mt19937_64 random(1);
  for (int jump = 0; jump < 12; ++jump) {
    const std::uint64_t target = random() % (session.file().end() + 10);
    wandering.seek(target);
    Stepper straight(session.file());
    straight.seek(target);
    CHECK(wandering.position() == straight.position());
    CHECK(session.screen(wandering) == session.screen(straight));
  }
}

TEST_CASE("stepper: checkpoints stay few however long the trace is") {
  const Session session(22000);
  Stepper stepper(session.file());
  stepper.seek(session.file().end());
  CHECK(stepper.checkpoints() <= 65);
  const std::string end = session.screen(stepper);
  stepper.seek(1);
  stepper.seek(session.file().end());
  CHECK(session.screen(stepper) == end);
}

TEST_CASE("stepper: finds forwards and backwards, across checkpoints") {
  const Session session(2000);
  Stepper stepper(session.file());
  std::vector<std::uint64_t> forwards;
  while (stepper.find_forward(filter("event=answer and batch>1990"))) {
    forwards.push_back(stepper.position());
  }
  CHECK(forwards.size() == 10);
  stepper.seek(session.file().end());
  std::vector<std::uint64_t> backwards;
  while (stepper.find_back(filter("event=answer and batch>1990"))) {
    backwards.insert(backwards.begin(), stepper.position());
  }
  CHECK(backwards == forwards);
  const std::uint64_t before = stepper.position();
  CHECK_FALSE(stepper.find_back(filter("event=fault")));
  CHECK(stepper.position() == before);
  // The very first record is found, too.
  CHECK(stepper.find_back(filter("event=boot")));
  CHECK(stepper.position() == 1);
  CHECK_FALSE(stepper.find_back(filter("event=boot")));
}

TEST_CASE("stepper: conditions on latency see what the model sees") {
  const Session session(2);
  Stepper stepper(session.file());
  CHECK(stepper.find_forward(filter("latency>=1us")));
  CHECK(stepper.record()->event == abi::TraceEvent::answer);
  CHECK(stepper.model().latency_ns() == 11'000);
  CHECK_FALSE(stepper.find_forward(filter("latency>1ms")));
}

TEST_CASE("stepper: commands, and the state between submission and answer") {
  const Session session(1);
  Stepper stepper(session.file());
  const vmm::Symbols symbols;
  hvtrace::StepCommands commands(stepper, symbols);
  CHECK(commands.execute("n").message.empty());
  CHECK(stepper.record()->event == abi::TraceEvent::batch);
  commands.execute("s 3");
  CHECK(stepper.record()->count == 2);
  const auto sums = stepper.model().frames().bytes_by_order();
  CHECK(sums[static_cast<std::size_t>(hvtrace::FrameState::isolated)][9] == 2 << 20);
  CHECK(sums[static_cast<std::size_t>(hvtrace::FrameState::isolated)][10] == 4 << 20);
  const std::string screen = session.screen(stepper);
  CHECK(screen.find("in flight: 1 batches") != std::string::npos);
  CHECK(screen.find("#0 batch 1: taken, 3 ranges, 6 MiB") != std::string::npos);
  CHECK(commands.execute("u nonsense=1").message.starts_with("filter: no field"));
  CHECK(commands.execute("/ event=answer").message.empty());
  CHECK(commands.execute(".").message == "no such record");
  CHECK(commands.execute("? event=submit").message.empty());
  CHECK(commands.execute("p").message == "no earlier batch");
  CHECK(commands.execute("w 0x800000").message.find("=> free and given back") != std::string::npos);
  CHECK(commands.execute("y").message == "no command y; h for help");
  CHECK(commands.execute("g x").message == "not a number: x");
  CHECK(commands.execute("G").message.empty());
  CHECK(stepper.position() == session.file().end() - 1);
  CHECK(commands.execute("q").quit);
}

TEST_CASE("filter: precedence, blocks, units and mistakes") {
  const abi::TraceRecord range{.time_ns = 2'000'000,
                               .address = 0x400000,
                               .value = 7,
                               .event = abi::TraceEvent::range,
                               .channel = 1,
                               .order = 9};
  const auto matches = [&](const std::string& text) {
    return filter(text).matches(range, std::nullopt);
  };
  CHECK(matches("event=range and order>=9"));
  CHECK(matches("event=drain or event=range and channel=1"));
  CHECK_FALSE(matches("(event=drain or event=range) and not vcpu=1"));
  CHECK(matches("gpa=0x5fffff"));
  CHECK_FALSE(matches("gpa=0x600000"));
  CHECK(matches("gpa!=0x600000"));
  CHECK(matches("time=2ms and bytes=2M and kind=hint"));
  CHECK_FALSE(matches("latency<1s"));
  CHECK_FALSE(matches("outcome=declined"));
  for (const char* bad : {"", "order", "order=", "order=x", "order=9 9", "(order=9", "x=1",
                          "event=nothing", "order==9", "time=99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(Filter::parse(bad));
  }
  CHECK_FALSE(Filter::parse(std::string(100000, '(')));
  std::string deep;
  for (int index = 0; index < 10000; ++index) {
    deep += "not ";
  }
  CHECK_FALSE(Filter::parse(deep + "order=1"));
}
