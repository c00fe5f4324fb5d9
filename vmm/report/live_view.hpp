// SPDX-License-Identifier: MIT
// Memory while the guest runs: on a terminal a small chart that is redrawn in place, elsewhere few
// plain lines. The chart gives way to other output: everything that is printed while a LiveView
// lives goes through print_above().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/measure/sampler.hpp"

namespace vmm {

// One point of the chart.
struct LivePoint {
  std::optional<std::uint64_t> resident_bytes = 0; // empty: not measured
  std::uint64_t live_bytes = 0;
};

struct LiveState {
  double elapsed_seconds = 0;
  LivePoint now;
  std::uint64_t fresh_bytes = 0;    // free in the guest, not yet given back
  std::uint64_t reported_bytes = 0; // free in the guest, given back
  std::optional<double> progress;   // 0...1; empty when the workload has no known end
  std::span<const LivePoint> history;
};

// What the chart is drawn with.
enum class ChartBars : std::uint8_t {
  blocks, // eighth blocks, in UTF-8
  ascii,
};

// The chart: lines without a trailing newline, separated by "\n", none wider than `width` columns.
// Below 40 columns it shrinks to one line, below 8 to nothing.
std::string render_chart(const LiveState& state, std::size_t width,
                         ChartBars bars = ChartBars::blocks);

// One line of plain text, without a newline.
std::string render_plain(const LiveState& state);

// One character of a bar per value, scaled so that `top` is full; a value above zero
// is never blank. Values are averaged (or repeated) to exactly `width` columns.
std::string sparkline(std::span<const std::uint64_t> values, std::uint64_t top, std::size_t width,
                      ChartBars bars = ChartBars::blocks);

// Columns of the terminal `fd`; 80 when it does not say.
std::size_t terminal_width(int fd);

enum class LiveStyle : std::uint8_t {
  none,  // only passes text through
  chart, // redrawn at most ten times a second
  plain, // every ten seconds and at each quarter of the progress, at most one line a second
};

enum class ChartPlace : std::uint8_t { known, lost };

struct LiveLook {
  LiveStyle style = LiveStyle::none;
  ChartBars bars = ChartBars::blocks;
};

// Thread-safe: samples come from the sampler's thread, text from the vCPU's.
class LiveView {
 public:
  using Write = std::function<void(std::string_view)>;
  using Width = std::function<std::size_t()>;

  // `write` gets whole pieces of output; `width` is asked before each drawing.
  LiveView(LiveLook look, Write write, Width width);
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;
  ~LiveView(); // finishes

  // A new sample; elapsed time counts from the first.
  void update(const MemorySample& sample);
  // Draws the chart again, now: in its place when the terminal has another width, below whatever
  // there is when somebody else had the terminal meanwhile.
  void redraw(ChartPlace place);
  // Prints text where the chart is and redraws the chart below. With a chart, a line is held back
  // until its newline comes.
  void print_above(std::string_view text);
  // Clears the chart and prints what was held back. Nothing is drawn afterwards; print_above()
  // passes text on.
  void finish();

 private:
  [[nodiscard]] LiveState state_locked() const;
  void remember_locked(const MemorySample& sample);
  void update_chart_locked();
  void update_plain_locked();
  void redraw_locked(std::string_view above);
  [[nodiscard]] std::string clear_locked();
  [[nodiscard]] std::string draw_locked();
  [[nodiscard]] std::string take_whole_lines_locked();

  const Write write_;
  const Width width_;
  const ChartBars bars_;

  std::mutex mutex_; // guards everything below, and the order of output
  LiveStyle style_;
  std::uint64_t samples_ = 0; // taken so far
  MemorySample latest_;
  std::uint64_t first_ns_ = 0;
  std::optional<std::uint64_t> printed_ns_; // last drawing or plain line
  std::vector<LivePoint> history_;
  std::uint64_t history_step_ = 1;  // samples that one point of the history stands for
  std::uint64_t history_phase_ = 0; // samples taken into the last point; 0: begin a new one
  unsigned quarters_printed_ = 0;
  std::size_t drawn_lines_ = 0; // of the chart on the screen
  std::string held_;            // text without its newline yet
  bool at_line_start_ = true;
};

} // namespace vmm
