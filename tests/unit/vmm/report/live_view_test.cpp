// SPDX-License-Identifier: MIT
#include "vmm/report/live_view.hpp"

#include <algorithm>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/text_lines.hpp"
#include "vmm/base/units.hpp"

using namespace vmm;

using test_support::lines_of;

namespace {

constexpr std::uint64_t ms = 1'000'000;

// Columns of UTF-8 text whose characters are all one column wide.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & '\xc0') != '\x80'; }));
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

LiveState typical(std::span<const LivePoint> history) {
  return {.elapsed_seconds = 12.4,
          .now = {356 * mib, 312 * mib},
          .fresh_bytes = 40 * mib,
          .reported_bytes = 180 * mib,
          .progress = 0.529,
          .history = history};
}

MemorySample sample_at(std::uint64_t at_ms, std::uint64_t events = 0, std::uint64_t total = 0) {
  MemorySample sample;
  sample.at_ns = at_ms * ms;
  sample.resident_bytes = 3 * mib;
  sample.guest.live_bytes = 2 * mib;
  sample.guest.events = events;
  sample.guest.events_total = total;
  return sample;
}

// A terminal that understands what the chart uses: enough to see what a user would see.
class Screen {
 public:
  void take(std::string_view text) {
    ++writes;
    while (!text.empty()) {
      if (text.starts_with("\x1b[A")) {
        REQUIRE(row_ > 0);
        --row_;
        text.remove_prefix(3);
      } else if (text.starts_with("\x1b[J")) {
        rows_.resize(row_ + 1);
        rows_[row_].resize(column_);
        text.remove_prefix(3);
      } else if (text.starts_with("\x1b[?7")) {
        text.remove_prefix(5);
      } else if (text.front() == '\r') {
        column_ = 0;
        text.remove_prefix(1);
      } else if (text.front() == '\n') {
        column_ = 0;
        if (++row_ == rows_.size()) {
          rows_.emplace_back();
        }
        text.remove_prefix(1);
      } else {
        rows_[row_].resize(column_);
        rows_[row_] += text.front();
        ++column_;
        text.remove_prefix(1);
      }
    }
  }
  [[nodiscard]] const std::vector<std::string>& rows() const { return rows_; }
  int writes = 0;

 private:
  std::vector<std::string> rows_{""};
  std::size_t row_ = 0;
  std::size_t column_ = 0;
};

} // namespace

TEST_CASE("sparklines are exactly as wide as asked and scaled to the top") {
  const std::vector<std::uint64_t> ramp{0, 1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(sparkline(ramp, 8, 9) == " ▁▂▃▄▅▆▇█");
  CHECK(sparkline(ramp, 16, 9) == " ▁▁▂▂▃▃▄▄");
  for (const std::size_t width : {0U, 1U, 2U, 5U, 9U, 10U, 100U}) {
    CAPTURE(width);
    CHECK(columns(sparkline(ramp, 8, width)) == width);
    CHECK(columns(sparkline({}, 8, width)) == width);
  }
}

TEST_CASE("a sparkline shows a little above nothing and clips what is too high") {
  const std::vector<std::uint64_t> values{0, 1, 1'000'000, 2'000'000,
                                          std::numeric_limits<std::uint64_t>::max()};
  CHECK(sparkline(values, 1'000'000, 5) == " ▁███");
  CHECK(sparkline(values, 0, 5) == "     ");
}

TEST_CASE("the chart fits every width") {
  std::vector<LivePoint> history;
  history.reserve(300);
  for (std::uint64_t i = 0; i < 300; ++i) {
    history.push_back({i * mib, i * mib / 2});
  }
  for (std::size_t width = 0; width < 300; ++width) {
    const std::string chart = render_chart(typical(history), width);
    CAPTURE(width);
    const auto lines = lines_of(chart);
    CHECK(lines.size() == (width < 8 ? 0U : width < 40 ? 1U : 3U));
    for (const std::string& line : lines) {
      CHECK(columns(line) <= width);
      CHECK_FALSE(line.empty());
    }
    CHECK_FALSE(chart.ends_with('\n'));
  }
}

TEST_CASE("the chart says everything in 80 columns and the most telling in few") {
  const std::vector<LivePoint> history{{1, 1}};
  const std::string wide = render_chart(typical(history), 79);
  for (const char* part : {"12.4 s", "host 356 MiB", "live 312 MiB", "free 40.0 MiB",
                           "reported 180 MiB", "52 %", "█"}) {
    CAPTURE(part);
    CHECK(contains(wide, part));
  }
  CHECK(render_chart(typical(history), 22) == "12.4 s  host 356 MiB");
}

TEST_CASE("without UTF-8 the chart is ASCII, as wide and as high") {
  const std::vector<std::uint64_t> values{0, 1, 4, 8};
  CHECK(sparkline(values, 8, 4, ChartBars::ascii) == " .=@");
  const std::vector<LivePoint> history(30, {300 * mib, 200 * mib});
  const std::string chart = render_chart(typical(history), 80, ChartBars::ascii);
  CHECK(lines_of(chart).size() == 3);
  CHECK(std::ranges::all_of(chart, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
}

TEST_CASE("without a known end there is no percentage") {
  LiveState state = typical({});
  state.progress.reset();
  CHECK_FALSE(contains(render_chart(state, 79), "%"));
  CHECK_FALSE(contains(render_plain(state), "%"));
  state.progress = 0.9999;
  CHECK(contains(render_plain(state), ", 99 %"));
  state.progress = 1.0;
  CHECK(contains(render_plain(state), ", 100 %"));
}

TEST_CASE("the chart is redrawn in place, at most ten times a second") {
  Screen screen;
  LiveView view(
      {.style = LiveStyle::chart}, [&](std::string_view text) { screen.take(text); },
      [] { return 60U; });
  for (std::uint64_t at_ms = 5000; at_ms < 7000; at_ms += 20) {
    view.update(sample_at(at_ms));
    CHECK(screen.rows().size() == 3);
  }
  CHECK(screen.writes == 20);
  CHECK(contains(screen.rows()[0], "1.9 s"));
  view.finish();
  CHECK(screen.rows() == std::vector<std::string>{""});
}

TEST_CASE("the chart is drawn again at once for another width, and anew where its place is lost") {
  Screen screen;
  std::size_t width = 80;
  LiveView view(
      {.style = LiveStyle::chart}, [&](std::string_view text) { screen.take(text); },
      [&] { return width; });
  view.redraw(ChartPlace::known); // nothing to draw yet
  CHECK(screen.writes == 0);
  view.update(sample_at(0));
  width = 60;
  view.redraw(ChartPlace::known);
  REQUIRE(screen.rows().size() == 3);
  CHECK(columns(screen.rows()[1]) == 59);
  // A shell's prompt stands where the cursor was.
  screen.take("$ fg\n");
  view.redraw(ChartPlace::lost);
  REQUIRE(screen.rows().size() == 6);
  CHECK(screen.rows()[2].ends_with("$ fg"));
  view.finish();
  view.redraw(ChartPlace::known);
  CHECK(screen.rows().size() == 4);
}

TEST_CASE("the guest's output stands above the chart, line by line") {
  Screen screen;
  LiveView view(
      {.style = LiveStyle::chart}, [&](std::string_view text) { screen.take(text); },
      [] { return 60U; });
  view.print_above("before\n");
  view.update(sample_at(0));
  view.print_above("one\ntw");
  REQUIRE(screen.rows().size() == 5);
  CHECK(screen.rows()[0] == "before");
  CHECK(screen.rows()[1] == "one");
  CHECK(contains(screen.rows()[2], "host"));
  view.print_above("o\n");
  REQUIRE(screen.rows().size() == 6);
  CHECK(screen.rows()[2] == "two");
  view.print_above("no newline");
  CHECK(screen.rows().size() == 6);
  view.finish();
  CHECK(screen.rows() == std::vector<std::string>{"before", "one", "two", "no newline"});
  view.print_above(" yet\n");
  view.update(sample_at(10'000));
  CHECK(screen.rows() == std::vector<std::string>{"before", "one", "two", "no newline yet", ""});
}

TEST_CASE("a line that never ends is not held back indefinitely") {
  Screen screen;
  LiveView view(
      {.style = LiveStyle::chart}, [&](std::string_view text) { screen.take(text); },
      [] { return 60U; });
  for (int i = 0; i < 5000; ++i) {
    view.print_above("x");
  }
  CHECK(screen.rows().front().size() > 4000);
}

TEST_CASE("a long run keeps its whole past in a bounded history") {
  Screen screen;
  LiveView view(
      {.style = LiveStyle::chart}, [&](std::string_view text) { screen.take(text); },
      [] { return 60U; });
  // High in the first half, low in the second.
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    MemorySample sample = sample_at(i * 20);
    sample.resident_bytes = i < 10'000 ? 800 * mib : 100 * mib;
    sample.guest.live_bytes = 0;
    view.update(sample);
  }
  const std::string& host = screen.rows()[1];
  CHECK(contains(host, "host ████████████████████"));
  CHECK(host.ends_with("▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁"));
}

TEST_CASE("samples that overtook each other do not turn time back") {
  Screen screen;
  LiveView view(
      {.style = LiveStyle::chart}, [&](std::string_view text) { screen.take(text); },
      [] { return 60U; });
  view.update(sample_at(5000));
  view.update(sample_at(4000));
  view.update(sample_at(5200));
  CHECK(contains(screen.rows()[0], "0.2 s"));
}

TEST_CASE("plain lines come at quarters, at most one a second, and every ten seconds") {
  std::vector<std::string> output;
  LiveView view(
      {.style = LiveStyle::plain}, [&](std::string_view text) { output.emplace_back(text); },
      [] { return 80U; });
  view.update(sample_at(0, 0, 100));
  view.update(sample_at(500, 30, 100));
  CHECK(output.empty());
  view.update(sample_at(1000, 30, 100));
  CHECK(output.size() == 1);
  view.update(sample_at(1500, 55, 100));
  view.update(sample_at(1999, 80, 100));
  CHECK(output.size() == 1);
  view.update(sample_at(2000, 80, 100));
  CHECK(output.size() == 2);
  view.update(sample_at(11'999, 90, 100));
  CHECK(output.size() == 2);
  view.update(sample_at(12'000, 90, 100));
  CHECK(output.size() == 3);
  view.update(sample_at(14'000, 100, 100));
  view.update(sample_at(16'000, 100, 100));
  REQUIRE(output.size() == 4);
  CHECK(contains(output[3], "100 %"));
  for (const std::string& line : output) {
    CHECK(line.ends_with('\n'));
    CHECK_FALSE(contains(line, "\x1b"));
  }
}

TEST_CASE("a plain line does not land in the middle of the guest's") {
  std::string output;
  LiveView view(
      {.style = LiveStyle::plain}, [&](std::string_view text) { output += text; },
      [] { return 80U; });
  view.update(sample_at(0));
  view.print_above("guest says");
  view.update(sample_at(10'000));
  CHECK(output.starts_with("guest says\n[10.0 s] host"));
}

TEST_CASE("without a view, only the text goes through") {
  std::string output;
  LiveView view(
      {.style = LiveStyle::none}, [&](std::string_view text) { output += text; },
      [] { return 80U; });
  view.update(sample_at(0));
  view.print_above("a");
  view.update(sample_at(60'000));
  view.print_above("b\n");
  view.finish();
  CHECK(output == "ab\n");
}

TEST_CASE("a file descriptor that is no terminal is 80 columns wide") {
  CHECK(terminal_width(-1) == 80);
}
