// SPDX-License-Identifier: MIT
#include "vmm/debug/debug_monitor.hpp"

#include <doctest/doctest.h>

using namespace vmm;

namespace {

DebugMonitor some_monitor() {
  HintTotals hints;
  hints.batches = 1234;
  hints.bytes = 5 << 20;
  MemorySample memory;
  memory.resident_bytes = 3 << 20;
  memory.guest.live_bytes = 2 << 20;
  memory.guest.isolated_bytes = 1 << 20;
  return DebugMonitor(
      {.hints = [hints] { return hints; },
       .memory = [memory] { return memory; },
       .quarantined_bytes = [] { return std::uint64_t{4096}; },
       .control = [](std::string_view line) { return "asked " + std::string(line); },
       .guest_bytes = 64 << 20});
}

bool has_row(const std::string& text, std::string_view name, std::string_view value) {
  const std::size_t at = text.find(name);
  const std::size_t end = text.find('\n', at);
  return at != std::string::npos && text.substr(at, end - at).ends_with(value);
}

} // namespace

TEST_CASE("debug monitor: hints") {
  const std::string text = some_monitor().execute("hints");
  CHECK(has_row(text, "batches", "1,234"));
  CHECK(has_row(text, "hinted", "5.00 MiB"));
  CHECK(has_row(text, "in flight", "1.00 MiB"));
  CHECK(has_row(text, "  in quarantine", "4.00 KiB"));
  CHECK(text.ends_with("\n"));
}

TEST_CASE("debug monitor: memory") {
  const std::string text = some_monitor().execute("memory");
  CHECK(has_row(text, "host memory", "3.00 MiB"));
  CHECK(has_row(text, "guest RAM", "64.0 MiB"));
  CHECK(has_row(text, "  live", "2.00 MiB"));
}

TEST_CASE("debug monitor: what the control socket does, too") {
  const DebugMonitor monitor = some_monitor();
  CHECK(monitor.execute("report") == "asked report\n");
  CHECK(monitor.execute("report order=4") == "asked report order=4\n");
  CHECK(monitor.execute("trace start") == "asked trace start\n");
  CHECK(monitor.execute("pause").find("no such command") != std::string::npos); // is gdb's
  CHECK(monitor.execute("tracer").find("no such command") != std::string::npos);
}

TEST_CASE("debug monitor: help, and what is no command") {
  const DebugMonitor monitor = some_monitor();
  CHECK(monitor.execute("help") == monitor.execute(""));
  CHECK(monitor.execute("help").find("monitor memory") != std::string::npos);
  const std::string wrong = monitor.execute("rm\n\x01");
  CHECK(wrong.find("no such command") != std::string::npos);
  CHECK(wrong.find('\x01') == std::string::npos); // shown escaped
}
