// SPDX-License-Identifier: MIT
#include "vmm/report/live_view.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/core.h>
#include <sys/ioctl.h>

#include "vmm/base/append_text.hpp"
#include "vmm/base/or_dash.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

constexpr std::size_t default_width = 80;
constexpr std::size_t narrowest_status = 8;
constexpr std::size_t narrowest_chart = 40;
constexpr std::size_t widest_chart = 160;
// More points than columns, so that halving the history is not seen.
constexpr std::size_t history_limit = 512;
constexpr std::size_t held_limit = 4096;

constexpr std::uint64_t ns_per_s = 1'000'000'000;
constexpr std::uint64_t redraw_interval_ns = ns_per_s / 10;
constexpr std::uint64_t plain_interval_ns = 10 * ns_per_s;
constexpr std::uint64_t plain_least_interval_ns = ns_per_s;

using BarSteps = std::array<std::string_view, 9>;
constexpr BarSteps block_steps{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr BarSteps ascii_steps{" ", ".", ":", "-", "=", "+", "*", "#", "@"};

std::string percent(double progress) {
  // Down, so that 100 % means done.
  return fmt::format("{} %", static_cast<int>(std::clamp(progress, 0.0, 1.0) * 100));
}

// Adds ` item` as long as the line stays within `width`; everything in it is ASCII.
void append_fitting(std::string& line, std::string_view item, std::size_t width) {
  const std::string_view gap = line.empty() ? "" : "  ";
  if (line.size() + gap.size() + item.size() <= width) {
    line += gap;
    line += item;
  }
}

std::string status_line(const LiveState& state, std::size_t width) {
  std::string line;
  // The most telling first: what does not fit is left out.
  append_fitting(line, fmt::format("{:.1f} s", state.elapsed_seconds), width);
  append_fitting(line, fmt::format("host {}", or_dash(state.now.resident_bytes, human_size)),
                 width);
  append_fitting(line, fmt::format("live {}", human_size(state.now.live_bytes)), width);
  append_fitting(line, fmt::format("free {}", human_size(state.fresh_bytes)), width);
  append_fitting(line, fmt::format("reported {}", human_size(state.reported_bytes)), width);
  if (state.progress) {
    append_fitting(line, percent(*state.progress), width);
  }
  return line;
}

std::optional<double> progress_of(const GuestSample& guest) {
  if (guest.events_total == 0) {
    return std::nullopt;
  }
  return std::min(1.0, static_cast<double>(guest.events) / static_cast<double>(guest.events_total));
}

// Mean of `count` values so far and one more.
std::uint64_t running_mean(std::uint64_t mean, std::uint64_t count, std::uint64_t value) {
  return value >= mean ? mean + (value - mean) / (count + 1) : mean - (mean - value) / (count + 1);
}

std::optional<std::uint64_t> running_mean(std::optional<std::uint64_t> mean, std::uint64_t count,
                                          std::optional<std::uint64_t> value) {
  return mean && value ? std::optional(running_mean(*mean, count, *value)) : std::nullopt;
}

std::size_t line_count(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<std::size_t>(std::ranges::count(text, '\n'));
}

} // namespace

std::string sparkline(std::span<const std::uint64_t> values, std::uint64_t top, std::size_t width,
                      ChartBars bars) {
  const BarSteps& steps = bars == ChartBars::blocks ? block_steps : ascii_steps;
  constexpr auto last_step = static_cast<double>(block_steps.size() - 1);
  std::string line;
  if (values.empty()) {
    return std::string(width, ' ');
  }
  for (std::size_t column = 0; column < width; ++column) {
    const std::size_t first = column * values.size() / width;
    const std::size_t last = std::max(first + 1, (column + 1) * values.size() / width);
    double sum = 0;
    for (std::size_t i = first; i < last; ++i) {
      sum += static_cast<double>(values[i]);
    }
    const double share =
        top == 0 ? 0 : sum / static_cast<double>(last - first) / static_cast<double>(top);
    line += steps[static_cast<std::size_t>(std::ceil(std::min(share, 1.0) * last_step))];
  }
  return line;
}

std::string render_chart(const LiveState& state, std::size_t width, ChartBars bars) {
  if (width < narrowest_status) {
    return {};
  }
  std::string text = status_line(state, width);
  if (width < narrowest_chart || state.history.empty()) {
    return text;
  }
  std::vector<std::uint64_t> resident;
  std::vector<std::uint64_t> live;
  std::uint64_t top = 0;
  for (const LivePoint& point : state.history) {
    const std::uint64_t host_bytes = point.resident_bytes.value_or(0); // a blank column
    resident.push_back(host_bytes);
    live.push_back(point.live_bytes);
    top = std::max({top, host_bytes, point.live_bytes});
  }
  constexpr std::string_view host_label = "host ";
  constexpr std::string_view live_label = "live ";
  static_assert(host_label.size() == live_label.size());
  const std::size_t columns = std::min(width, widest_chart) - host_label.size();
  append_text(text, "\n{}{}\n{}{}", host_label, sparkline(resident, top, columns, bars), live_label,
              sparkline(live, top, columns, bars));
  return text;
}

std::string render_plain(const LiveState& state) {
  std::string text =
      fmt::format("[{:.1f} s] host {}, live {}, free {}, reported {}", state.elapsed_seconds,
                  or_dash(state.now.resident_bytes, human_size), human_size(state.now.live_bytes),
                  human_size(state.fresh_bytes), human_size(state.reported_bytes));
  if (state.progress) {
    text += ", ";
    text += percent(*state.progress);
  }
  return text;
}

std::size_t terminal_width(int fd) {
  winsize size = {};
  // Request and argument type are those of ioctl_tty(2).
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return default_width;
  }
  return size.ws_col;
}

LiveView::LiveView(LiveLook look, Write write, Width width)
    : write_(std::move(write)), width_(std::move(width)), bars_(look.bars), style_(look.style) {}

LiveView::~LiveView() {
  finish();
}

void LiveView::update(const MemorySample& sample) {
  const std::lock_guard lock(mutex_);
  if (style_ == LiveStyle::none) {
    return;
  }
  if (samples_++ == 0) {
    first_ns_ = sample.at_ns;
  } else if (sample.at_ns < latest_.at_ns) {
    // Two threads took samples and their observers overtook each other: the newer one is shown.
    return;
  }
  latest_ = sample;
  if (style_ == LiveStyle::chart) {
    remember_locked(sample);
    update_chart_locked();
  } else {
    update_plain_locked();
  }
}

void LiveView::redraw(ChartPlace place) {
  const std::lock_guard lock(mutex_);
  if (style_ != LiveStyle::chart || drawn_lines_ == 0) {
    return;
  }
  if (place == ChartPlace::lost) {
    drawn_lines_ = 0; // there is nothing to clear
  }
  redraw_locked({});
}

void LiveView::print_above(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (text.empty()) {
    return;
  }
  if (style_ != LiveStyle::chart) {
    write_(text);
    at_line_start_ = text.ends_with('\n');
    return;
  }
  held_ += text;
  if (const std::string lines = take_whole_lines_locked(); !lines.empty()) {
    redraw_locked(lines);
  }
}

void LiveView::finish() {
  const std::lock_guard lock(mutex_);
  std::string last = clear_locked();
  last += std::exchange(held_, {});
  style_ = LiveStyle::none;
  if (!last.empty()) {
    write_(last);
  }
}

LiveState LiveView::state_locked() const {
  const GuestSample& guest = latest_.guest;
  return {.elapsed_seconds =
              static_cast<double>(latest_.at_ns - first_ns_) / static_cast<double>(ns_per_s),
          .now = {latest_.resident_bytes, guest.live_bytes},
          .fresh_bytes = guest.fresh_bytes,
          .reported_bytes = guest.reported_bytes,
          .progress = progress_of(guest),
          .history = history_};
}

void LiveView::remember_locked(const MemorySample& sample) {
  const LivePoint point{sample.resident_bytes, sample.guest.live_bytes};
  if (history_phase_ > 0) {
    LivePoint& last = history_.back();
    last.resident_bytes = running_mean(last.resident_bytes, history_phase_, point.resident_bytes);
    last.live_bytes = running_mean(last.live_bytes, history_phase_, point.live_bytes);
  } else {
    if (history_.size() == history_limit) {
      // Halve the resolution of the past rather than forget it.
      for (std::size_t i = 0; i < history_limit / 2; ++i) {
        const LivePoint& first = history_[2 * i];
        const LivePoint& second = history_[2 * i + 1];
        history_[i] = {running_mean(first.resident_bytes, 1, second.resident_bytes),
                       running_mean(first.live_bytes, 1, second.live_bytes)};
      }
      history_.resize(history_limit / 2);
      history_step_ *= 2;
    }
    history_.push_back(point);
  }
  history_phase_ = (history_phase_ + 1) % history_step_;
}

void LiveView::update_chart_locked() {
  if (printed_ns_ && latest_.at_ns - *printed_ns_ < redraw_interval_ns) {
    return;
  }
  printed_ns_ = latest_.at_ns;
  redraw_locked({});
}

void LiveView::update_plain_locked() {
  const LiveState state = state_locked();
  const std::uint64_t since_ns = latest_.at_ns - printed_ns_.value_or(first_ns_);
  const auto quarters = static_cast<unsigned>(state.progress.value_or(0) * 4);
  const bool due = since_ns >= plain_interval_ns ||
                   (quarters > quarters_printed_ && since_ns >= plain_least_interval_ns);
  if (!due) {
    return;
  }
  printed_ns_ = latest_.at_ns;
  quarters_printed_ = quarters;
  write_(fmt::format("{}{}\n", at_line_start_ ? "" : "\n", render_plain(state)));
  at_line_start_ = true;
}

void LiveView::redraw_locked(std::string_view above) {
  std::string text = clear_locked();
  text += above;
  text += draw_locked();
  write_(text);
}

std::string LiveView::clear_locked() {
  if (drawn_lines_ == 0) {
    return {};
  }
  // Back to the first column of the chart's first line, then erase to the end of the screen.
  std::string text = "\r";
  for (std::size_t line = 1; line < drawn_lines_; ++line) {
    text += "\x1b[A";
  }
  text += "\x1b[J";
  drawn_lines_ = 0;
  return text;
}

std::string LiveView::draw_locked() {
  if (samples_ == 0) {
    return {};
  }
  // The last column stays free: a cursor behind it is in different places on different terminals.
  const std::size_t width = width_();
  const std::string chart = render_chart(state_locked(), width > 0 ? width - 1 : 0, bars_);
  drawn_lines_ = line_count(chart);
  // Without wrapping, a terminal that just got narrower cuts lines instead of making more of them.
  return drawn_lines_ == 0 ? std::string() : fmt::format("\x1b[?7l{}\x1b[?7h", chart);
}

std::string LiveView::take_whole_lines_locked() {
  const std::size_t last_newline = held_.rfind('\n');
  std::string lines(held_, 0, last_newline == std::string::npos ? 0 : last_newline + 1);
  held_.erase(0, lines.size());
  if (held_.size() > held_limit) {
    // A guest that never ends its line gets one.
    lines.append(held_).push_back('\n');
    held_.clear();
  }
  return lines;
}

} // namespace vmm
