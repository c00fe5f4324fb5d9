// SPDX-License-Identifier: MIT
// The live stepper's language, over a trace that grows under it as a running guest's does.
#include "vmm/step/live_commands.hpp"

#include <doctest/doctest.h>

#include "tests/support/temporary_path.hpp"
#include "tests/support/trace_builder.hpp"
#include "vmm/step/live_trace.hpp"

using namespace vmm;
using Goal = LiveCommands::Goal;
using Kind = LiveStop::Kind;
using abi::TraceEvent;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{16} << 20;
constexpr std::uint64_t words_gpa = std::uint64_t{4} << 20;

std::unique_ptr<TraceWriter> make_writer(const test_support::TemporaryPath& path) {
  abi::TraceHeader header = test_support::trace_header(abi::TraceLevel::all);
  header.finished = 0;
  auto writer = TraceWriter::create(std::move(*TraceTarget::open(path.text())), header);
  REQUIRE_MESSAGE(writer, writer.error().message);
  REQUIRE((*writer)->begin().has_value());
  return std::move(*writer);
}

GuestMemory make_memory() {
  auto memory = GuestMemory::create(ram_bytes, Backing::memfd);
  REQUIRE(memory);
  return std::move(*memory);
}

// A guest whose trace grows by append(), stopped wherever a test likes.
class Guest {
 public:
  Guest() : Guest("live-commands") {}

  void append(abi::TraceRecord record) {
    writer_->append(record);
    trace_.refresh();
  }
  // As on the way to the next stop: whether it is one, and then its first words.
  bool arrive(LiveStop stop) {
    if (!commands_.reached(stop.kind)) {
      return false;
    }
    stop_ = std::move(stop);
    opening_ = commands_.begin(stop_);
    return true;
  }
  bool arrive_at_hypercall(abi::Hypercall call = abi::Hypercall::wait) {
    append({.value = static_cast<std::uint64_t>(call), .event = TraceEvent::hypercall});
    return arrive(LiveStop::at_hypercall(0, call, 5));
  }
  bool arrive_at_batch(std::uint32_t ranges = 2) {
    batch_.submission = {.batch_id = ++batch_id_, .page = 0, .range_count = ranges};
    batch_.acceptable = true;
    for (std::uint32_t range = 0; range < ranges; ++range) {
      batch_.descriptors[range] = abi::RangeDescriptor::make(
          abi::to_pfn({words_gpa + range * (std::uint64_t{4} << 20)}), {10}, abi::RangeKind::hint);
    }
    faults_ = {};
    append({.value = batch_id_, .count = ranges, .event = TraceEvent::batch, .detail = 1});
    return arrive(LiveStop::at_batch(batch_, faults_));
  }

  // What a command says; empty when it lets the guest run on or only moves.
  std::string say(std::string_view line) {
    const hvtrace::StepOutcome outcome = commands_.execute(line);
    resumed_ = outcome.resume;
    quit_ = outcome.quit;
    return outcome.message;
  }
  bool resumes(std::string_view line) {
    const std::string said = say(line);
    CHECK_MESSAGE((!resumed_ || said.empty()), said);
    return resumed_;
  }

  [[nodiscard]] const std::string& opening() const { return opening_; }
  [[nodiscard]] const BatchFaults& faults() const { return faults_; }
  [[nodiscard]] bool has_quit() const { return quit_; }
  [[nodiscard]] Goal goal() const { return commands_.goal(); }
  [[nodiscard]] std::uint64_t position() const { return stepper_.position(); }
  [[nodiscard]] std::uint64_t latest() const { return trace_.end() - 1; }
  [[nodiscard]] const GuestMemory& memory() const { return memory_; }

 private:
  explicit Guest(const char* name)
      : path_(name), writer_(make_writer(path_)), memory_(make_memory()), trace_(*writer_),
        stepper_(trace_),
        commands_(
            stepper_,
            {.memory = memory_, .symbols = symbols_, .vcpus = 2, .registers = [](unsigned vcpu) {
               return fmt::format("rip of {}", vcpu);
             }}) {}

  test_support::TemporaryPath path_;
  std::unique_ptr<TraceWriter> writer_;
  GuestMemory memory_;
  Symbols symbols_;
  LiveTrace trace_;
  hvtrace::Stepper stepper_;
  LiveCommands commands_;
  LiveStop stop_;
  Batch batch_;
  BatchFaults faults_;
  std::uint64_t batch_id_ = 0;
  std::string opening_;
  bool resumed_ = false, quit_ = false;
};

} // namespace

TEST_CASE("live commands: the first hypercall is a stop, and so is each one stepped to") {
  Guest guest;
  REQUIRE(guest.arrive_at_hypercall(abi::Hypercall::negotiate));
  CHECK(guest.opening() == "vCPU 0 calls negotiate, argument 0x5");
  CHECK(guest.resumes("s"));
  REQUIRE(guest.arrive_at_batch());
  CHECK(guest.opening() ==
        "batch 1 of channel 0 taken: 2 ranges, 8 MiB; it will be answered honestly");
  CHECK(guest.position() == guest.latest());
  CHECK(guest.resumes(""));
  CHECK(guest.arrive_at_hypercall());
}

TEST_CASE("live commands: goals let by what they do not ask for") {
  Guest guest;
  REQUIRE(guest.arrive_at_hypercall());
  SUBCASE("s N stops at the N-th") {
    CHECK(guest.resumes("step 3"));
    CHECK_FALSE(guest.arrive_at_hypercall());
    CHECK_FALSE(guest.arrive_at_batch());
    CHECK(guest.arrive_at_hypercall());
  }
  SUBCASE("s 0 and s with the largest number are no traps") {
    CHECK(guest.resumes("s 0"));
    REQUIRE(guest.arrive_at_hypercall());
    CHECK(guest.resumes("s 18446744073709551615"));
    CHECK_FALSE(guest.arrive_at_hypercall());
  }
  SUBCASE("n stops at batches only") {
    CHECK(guest.resumes("next"));
    CHECK_FALSE(guest.arrive_at_hypercall());
    CHECK(guest.arrive_at_batch());
  }
  SUBCASE("u stops where a record fits, at that record") {
    CHECK(guest.resumes("until event=batch and batch=2"));
    CHECK_FALSE(guest.arrive_at_batch());
    CHECK_FALSE(guest.arrive_at_hypercall());
    REQUIRE(guest.arrive_at_batch());
    CHECK(guest.position() == guest.latest());
    // Found between two stops: shown where it is, not where the guest is by now.
    CHECK(guest.resumes("u event=drain"));
    guest.append({.value = 2, .event = TraceEvent::drain});
    REQUIRE(guest.arrive_at_hypercall());
    CHECK(guest.position() == guest.latest() - 1);
    // On from there: the present first, then the guest.
    CHECK_FALSE(guest.resumes("s"));
    CHECK(guest.resumes("s"));
  }
  SUBCASE("a condition that is never met ends with the guest") {
    CHECK(guest.resumes("u call=panic"));
    CHECK_FALSE(guest.arrive_at_hypercall());
    CHECK(guest.arrive(LiveStop::at_end({EndKind::exited, 7, {}})));
    CHECK(guest.opening() == "the guest has ended: exited with status 7");
  }
  SUBCASE("c stops at the end, where nothing goes on") {
    CHECK(guest.resumes("c"));
    CHECK_FALSE(guest.arrive_at_hypercall());
    CHECK_FALSE(guest.arrive_at_batch());
    REQUIRE(guest.arrive(LiveStop::at_end({EndKind::crashed, 0, "of a bug"})));
    CHECK(guest.opening() == "the guest has ended: crashed\nof a bug");
    for (const char* on : {"s", "n", "c", "u event=fault"}) {
      CAPTURE(on);
      CHECK(guest.say(on) == "the guest has ended");
      CHECK_FALSE(guest.has_quit());
    }
    guest.say("q");
    CHECK(guest.has_quit());
  }
  SUBCASE("d stops nowhere") {
    CHECK(guest.resumes("detach"));
    CHECK(guest.goal() == Goal::detached);
    CHECK_FALSE(guest.arrive_at_hypercall());
    CHECK_FALSE(guest.arrive(LiveStop::at_end({})));
  }
}

TEST_CASE(
    "live commands: looking back does not run the guest, only going beyond the present does") {
  Guest guest;
  REQUIRE(guest.arrive_at_batch());
  for (int index = 0; index < 9; ++index) {
    guest.append({.event = TraceEvent::doorbell});
  }
  guest.say("G");
  CHECK(guest.position() == guest.latest());
  guest.say("S 5");
  CHECK_FALSE(guest.resumes("s 3"));
  CHECK_FALSE(guest.resumes("s 100"));
  CHECK(guest.position() == guest.latest());
  CHECK_FALSE(guest.resumes("p"));
  CHECK_FALSE(guest.resumes("U event=drain"));
  CHECK_FALSE(guest.resumes("."));
  CHECK_FALSE(guest.resumes("f"));
  CHECK_FALSE(guest.resumes("g 1"));
  CHECK_FALSE(guest.resumes("u event=doorbell"));
  CHECK(guest.position() == 2);
}

TEST_CASE("live commands: answers change for the batch at hand, range by range or whole") {
  Guest guest;
  REQUIRE(guest.arrive_at_hypercall());
  CHECK(guest.say("D") == "no batch is at hand; n runs to the next one");
  CHECK(guest.resumes("n"));
  REQUIRE(guest.arrive_at_batch(3));
  CHECK(guest.say("D 1") == "batch 1 of channel 0 will be answered but for ranges declined: 1");
  CHECK(guest.say("F 2") == "batch 1 of channel 0 will be answered but for ranges declined: 1; "
                            "ranges failed: 2");
  CHECK(guest.faults().declines_range(1));
  CHECK(guest.faults().fails_range(2));
  CHECK_FALSE(guest.faults().declines_range(0));
  // The last word on a range counts.
  CHECK(guest.say("fail 1") == "batch 1 of channel 0 will be answered but for ranges failed: 1, 2");
  CHECK_FALSE(guest.faults().declines_range(1));
  for (const char* bad : {"D 3", "D -1", "D x", "F 512", "D 18446744073709551616"}) {
    CAPTURE(bad);
    CHECK(guest.say(bad).find(": the batch has 3") != std::string::npos);
  }
  CHECK(guest.say("T 500us") ==
        "batch 1 of channel 0 will be answered but for ranges failed: 1, 2, 500 us late");
  for (const char* bad : {"T", "T soon", "T -1", "delay 11s", "T 1e99"}) {
    CAPTURE(bad);
    CHECK(guest.say(bad).find("not a time") != std::string::npos);
  }
  CHECK(guest.faults().delay_ns == 500'000);
  CHECK(guest.say("decline") == "batch 1 of channel 0 will be declined, 500 us late");
  CHECK_FALSE(guest.faults().ranges.has_value());
  CHECK(guest.say("F") == "batch 1 of channel 0 will be failed, 500 us late");
  CHECK(guest.faults().fate == Fate::fail);
  CHECK(guest.say("honest") == "batch 1 of channel 0 will be answered honestly");
  CHECK(guest.faults() == BatchFaults{});
}

TEST_CASE("live commands: registers and memory, and what is neither") {
  Guest guest;
  REQUIRE(guest.arrive_at_hypercall());
  CHECK(guest.say("regs") == "vCPU 0\nrip of 0\n");
  CHECK(guest.say("r 1") == "vCPU 1\nrip of 1\n");
  CHECK(guest.say("r 2") == "no vCPU 2: there are 2");
  CHECK(guest.say("r x") == "no vCPU x: there are 2");
  *guest.memory().object_at<std::uint64_t>({words_gpa + 16}) = 0xabcdef;
  CHECK(guest.say("x 0x400000 3") == "0x00400000: 0000000000000000 0000000000000000\n"
                                     "0x00400010: 0000000000abcdef\n");
  CHECK(guest.say("x 4194320 1") == "0x00400010: 0000000000abcdef\n");
  CHECK(guest.say("x 0xfffff8 1") == "0x00fffff8: 0000000000000000\n");
  for (const char* outside :
       {"x 0xfffff8 2", "x 0x1000000", "x 0xffffffffffffffff", "x 0xfffffffffffffff8 1"}) {
    CAPTURE(outside);
    CHECK(guest.say(outside).find("not guest memory") != std::string::npos);
  }
  CHECK(guest.say("x 0 0") == "0 words: must be 1 to 128");
  CHECK(guest.say("x 0 129") == "129 words: must be 1 to 128");
  for (const char* bad : {"x", "x y", "x 0x400000 y", "x 0x"}) {
    CAPTURE(bad);
    CHECK(guest.say(bad).starts_with("x wants"));
  }
  CHECK(guest.say("h").find("decline") != std::string::npos);
  CHECK(guest.say("bogus").find("0x") == std::string::npos);
}

TEST_CASE("live trace: ends before what is claimed and not written") {
  const test_support::TemporaryPath path("live-trace");
  const auto writer = make_writer(path);
  LiveTrace trace(*writer);
  writer->append({.event = TraceEvent::boot});
  const std::uint64_t hole = writer->claim(1);
  writer->append({.event = TraceEvent::doorbell});
  CHECK(trace.end() == 1);
  trace.refresh();
  CHECK(trace.end() == 2);
  CHECK_FALSE(trace.at(2).has_value());
  writer->write(hole, {.event = TraceEvent::doorbell});
  CHECK(trace.end() == 2); // holds still until it is asked
  trace.refresh();
  CHECK(trace.end() == 4);
  CHECK(trace.at(3)->event == TraceEvent::doorbell);
  CHECK_FALSE(trace.at(0).has_value());
}
