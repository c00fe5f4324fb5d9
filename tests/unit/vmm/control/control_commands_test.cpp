// SPDX-License-Identifier: MIT
#include "vmm/control/control_commands.hpp"

#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"
#include "vmm/base/units.hpp"

using namespace vmm;

namespace {

// A guest of 1 GiB with 64 MiB of it resident, and its commands.
struct Driven {
  abi::ReportControl control{};
  ReportControlWriter report{control, {control.policy, control.timeout_ns}, {}};
  std::unique_ptr<GuestEnd> end = std::move(*GuestEnd::create());
  std::unique_ptr<MemoryMarks> marks = std::move(*MemoryMarks::create());
  VcpuGate gate{1, SIGURG};
  std::atomic<std::uint64_t> price_ns{1'000'000};
  std::optional<std::uint64_t> resident = 64 * mib;
  ControlTargets targets{.report = report,
                         .end = *end,
                         .marks = *marks,
                         .gate = &gate,
                         .automatic =
                             [this](abi::ReportPolicy policy) {
                               policy.batch = static_cast<std::uint32_t>(price_ns / 1'000'000);
                               return policy;
                             },
                         .memory_price_ns = price_ns,
                         .hints = [] { return HintTotals{}; },
                         .memory = [this] { return sample(resident); },
                         .guest_bytes = gib};
  ControlCommands commands{targets};

  static MemorySample sample(std::optional<std::uint64_t> bytes) {
    MemorySample sample;
    sample.resident_bytes = bytes;
    return sample;
  }
  // Whether clients are told that a mark is reached by it.
  bool reaches(const MemorySample& now) {
    marks->look(now);
    pollfd event{marks->reached().fd(), POLLIN, 0};
    const bool told = ::poll(&event, 1, 0) == 1;
    marks->reached().clear();
    return told;
  }
  // What is said at once; empty when that comes later.
  std::string ask(std::string_view line) {
    const ControlReply reply = commands.execute(line);
    CHECK((!reply.later || reply.text.empty()));
    return reply.text;
  }
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

constexpr std::string_view refused = R"({"ok":false,"error":")";

} // namespace

TEST_CASE("a guest is paused and goes on, however often it is said") {
  Driven guest;
  CHECK(has(guest.ask("status"), R"({"ok":true,"state":"running","report":{)"));
  CHECK(guest.ask("pause") == R"({"ok":true,"state":"paused"})");
  CHECK(guest.ask(" pause\t") == R"({"ok":true,"state":"paused"})");
  CHECK(has(guest.ask("status"), R"("state":"paused")"));
  CHECK(guest.ask("resume") == R"({"ok":true,"state":"running"})");
  CHECK(guest.ask("resume") == R"({"ok":true,"state":"running"})");
  std::uint8_t immediate_exit = 0;
  CHECK(guest.gate.before_entry(0, immediate_exit)); // would wait for ever
  guest.gate.after_exit(0);
}

TEST_CASE("who else holds the vCPUs is the one to ask") {
  Driven guest;
  guest.targets.gate = nullptr;
  ControlCommands commands(guest.targets);
  for (const char* const request : {"pause", "resume"}) {
    const std::string answer = commands.execute(request).text;
    CHECK(answer.starts_with(refused));
    CHECK(has(answer, "--gdb and --step"));
  }
}

TEST_CASE("a guest is stopped once, and has ended to all that comes later") {
  Driven guest;
  const ControlReply wait = guest.commands.execute("wait");
  REQUIRE(wait.later);
  CHECK_FALSE(wait.later());
  CHECK(guest.ask("stop") == R"({"ok":true,"state":"ended"})");
  CHECK(guest.end->ending().process_status() == 128 + SIGTERM);
  CHECK(wait.later() == R"({"ok":true,"event":"end","how":"interrupted","exit_status":143,)"
                        R"("text":"stopped over --control"})");
  for (const char* const request : {"stop", "pause", "resume"}) {
    CHECK(guest.ask(request) == R"({"ok":false,"error":"the guest has ended","fault":"state"})");
  }
  CHECK(has(guest.ask("status"), R"("state":"ended")"));
  const ControlReply late = guest.commands.execute("wait end");
  REQUIRE(late.later);
  CHECK(late.later());
}

TEST_CASE("a mark is reached by the first sample on its side, and that counts for good") {
  Driven guest;
  const ControlReply above = guest.commands.execute("wait above 128M");
  const ControlReply below = guest.commands.execute("wait below 32M");
  REQUIRE((above.later && below.later));
  CHECK_FALSE(guest.reaches(Driven::sample(128 * mib - 1)));
  CHECK_FALSE(guest.reaches(Driven::sample(std::nullopt)));
  CHECK_FALSE(above.later());
  CHECK(guest.reaches(Driven::sample(128 * mib)));
  CHECK_FALSE(guest.reaches(Driven::sample(200 * mib)));
  CHECK(above.later() == R"({"ok":true,"event":"above","resident_bytes":134217728})");
  CHECK_FALSE(below.later());
  guest.end->end({EndKind::exited, 3, ""});
  CHECK(below.later() == R"({"ok":true,"event":"end","how":"exited","exit_status":3,"text":""})");
  CHECK(above.later() == R"({"ok":true,"event":"above","resident_bytes":134217728})");
}

TEST_CASE("a mark that is passed already is answered at once, one that nobody holds is forgotten") {
  Driven guest;
  const ControlReply passed = guest.commands.execute("wait above 64M");
  REQUIRE(passed.later);
  CHECK(passed.later());
  { const ControlReply forgotten = guest.commands.execute("wait above 100M"); }
  CHECK_FALSE(guest.reaches(Driven::sample(200 * mib)));
  guest.resident.reset(); // nobody has looked yet
  const ControlReply early = guest.commands.execute("wait below 1G");
  REQUIRE(early.later);
  CHECK_FALSE(early.later());
  CHECK(guest.reaches(Driven::sample(mib)));
  CHECK(early.later());
  guest.targets.measures_resident = false;
  ControlCommands blind(guest.targets);
  CHECK(has(blind.execute("wait above 1M").text, "does not tell how much"));
}

TEST_CASE("the policy is shown, changed and refused") {
  Driven guest;
  CHECK(has(guest.ask("report"), R"({"ok":true,"report":{"enabled":true,)"));
  CHECK(has(guest.ask("report order=4,keep=8M"), R"("order":4,)"));
  CHECK(has(guest.ask("report"), R"("keep_bytes":8388608,)"));
  CHECK(has(guest.ask("report off"), R"("enabled":false)"));
  CHECK(has(guest.ask("report on"), R"("enabled":true)"));
  const std::string before = guest.ask("report");
  for (const char* const wrong :
       {"order=99", "order=", "nonsense", "keep=2G", "order=4,order=5", ","}) {
    CAPTURE(wrong);
    CHECK(guest.ask("report " + std::string(wrong)).starts_with(refused));
  }
  CHECK(guest.ask("report") == before);
  guest.report.set_reader(ControlReader::absent);
  CHECK(has(guest.ask("report order=3"), "does not take a new policy"));
}

TEST_CASE("what a guest reads is what was asked for") {
  Driven guest;
  guest.report.set_reader(ControlReader::present);
  guest.ask("  report \t order=4,batch=64,delay=5  ");
  guest.ask("report timeout=1,strategy=scan");
  CHECK(guest.control.policy.order == 4);
  CHECK(guest.control.policy.delay_ns == 5'000'000);
  CHECK(guest.control.policy.strategy == abi::ReportStrategy::scan);
  CHECK(guest.control.timeout_ns == 1'000'000);
  CHECK(guest.control.generation == 4);
  guest.ask("report order=99");
  CHECK(guest.control.generation == 4);
}

TEST_CASE("order=auto is what this machine suggests, until the user gives an order") {
  Driven guest;
  guest.ask("report strategy=scan,keep=1M");
  CHECK(has(guest.ask("report order=auto"), R"("automatic":true,)"));
  CHECK(guest.control.policy.batch == 1);
  CHECK(guest.control.policy.keep_bytes == mib);
  CHECK(has(guest.ask("report strategy=each"), "order=auto chooses it itself"));
  guest.ask("report keep=2M");
  CHECK(has(guest.ask("report"), R"("automatic":true,)"));
  CHECK(has(guest.ask("report order=4"), R"("automatic":false,)"));
}

TEST_CASE("order=auto follows the price of memory") {
  Driven guest;
  CHECK(guest.ask("memory-price") == R"({"ok":true,"memory_price_ns":1000000})");
  guest.ask("report order=auto");
  CHECK(has(guest.ask("report"), R"("batch":1,)"));
  CHECK(guest.ask("memory-price 7ms") == R"({"ok":true,"memory_price_ns":7000000})");
  CHECK(has(guest.ask("report"), R"("batch":7,)"));
  guest.ask("report order=3,batch=9");
  guest.ask("memory-price 2ms");
  CHECK(has(guest.ask("report"), R"("batch":9,)"));
  for (const char* const wrong : {"0", "x", "-1ms", "1ms 2ms"}) {
    CHECK(guest.ask("memory-price " + std::string(wrong)).starts_with(refused));
  }
  CHECK(guest.price_ns == 2'000'000);
}

TEST_CASE("what is no request is refused in a line, whatever it is") {
  Driven guest;
  for (const std::string_view line :
       {std::string_view(""), std::string_view("  "), std::string_view("nosuch"),
        std::string_view("STATUS"), std::string_view("pause now"), std::string_view("stop 9"),
        std::string_view("wait above"), std::string_view("wait above x"),
        std::string_view("wait end 1"), std::string_view("wait beside 1M"),
        std::string_view("help me"), std::string_view("\0\xff\x1b[2J\n\"\\", 9),
        std::string_view("status\0", 7), std::string_view("report or\0der=\x1b[2J", 18)}) {
    CAPTURE(line);
    const std::string answer = guest.ask(line);
    CHECK_FALSE(has(answer, "\x1b"));
    CHECK(answer.starts_with(refused));
    CHECK(answer.ends_with("\"}"));
    CHECK_FALSE(has(answer, "\n"));
  }
  CHECK_FALSE(guest.end->ended());
}

TEST_CASE("help has every command") {
  Driven guest;
  const std::string answer = guest.ask("help");
  for (const char* const name :
       {"status", "report", "memory-price", "pause", "resume", "stop", "wait", "help"}) {
    CHECK(has(answer, "\"" + std::string(name) + "\":{\"arguments\":"));
  }
}

TEST_CASE("a trace is started, shown, rotated and stopped, with the file that was handed over") {
  const test_support::TemporaryFolder dir;
  Driven guest;
  CHECK(guest.ask("trace") == R"({"ok":true,"trace":null})");
  CHECK(has(guest.ask("trace start x"), "nothing can be recorded; that takes --trace FILE"));
  const auto memory = GuestMemory::create(16 * mib, Backing::small_pages);
  REQUIRE(memory);
  const auto recorder = TraceRecorder::create_idle({.tsc_khz = 1'000'000}, *memory);
  REQUIRE(recorder->start());
  TraceSwitch traces(*recorder, std::nullopt, std::nullopt, TraceSwitch::Held::no);
  guest.targets.trace = &traces;
  ControlCommands commands(guest.targets);
  const auto ask = [&](std::string_view line, const char* name = nullptr) {
    UniqueFd file;
    if (name != nullptr) {
      file = UniqueFd(::open((dir / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      REQUIRE(file.valid());
    }
    const std::string answer = commands.execute(line, file).text;
    // Whoever does not want a file leaves it.
    const bool wants = line.starts_with("trace start") || line.starts_with("trace rotate");
    CHECK(file.valid() == (name != nullptr && !wants));
    return answer;
  };
  for (const char* const wrong : {"trace begin x", "trace stop now", "trace x"}) {
    CHECK(has(ask(wrong, "a"), "must be start [NAME], rotate [NAME], stop or nothing"));
  }
  CHECK(has(ask("trace start  my trace ", "a"), R"("trace":{"name":"my trace","records":0)"));
  CHECK(has(ask("status", "b"), R"("trace":{"name":"my trace")"));
  const std::string rotated = ask("trace rotate", "b");
  CHECK(has(rotated, R"("done":{"name":"my trace","records":2,"lost_records":0)"));
  CHECK(has(rotated, R"("trace":{"name":"","records":1)"));
  CHECK(has(ask("trace stop"), R"(,"trace":null})"));
  CHECK(ask("trace") == R"({"ok":true,"trace":null})");
  guest.end->end({});
  CHECK(ask("trace start", "c") == R"({"ok":false,"error":"the guest has ended","fault":"state"})");
  recorder->stop({});
}
