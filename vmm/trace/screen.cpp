// SPDX-License-Identifier: MIT
#include "vmm/trace/screen.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/core.h>

#include "vmm/base/append_text.hpp"
#include "vmm/base/units.hpp"

namespace hvtrace {
namespace {

constexpr std::size_t rows_beside_records = 18;
constexpr std::size_t max_batches_shown = 3;
constexpr std::size_t map_rows = 2;

// Letters of the memory map, by FrameState.
constexpr std::string_view map_letters = ".#o~-x";
constexpr std::array<std::string_view, frame_state_count> state_names{
    "unknown", "in use", "free", "isolated", "reported", "declined"};

void append_line(std::string& out, std::string_view line, std::size_t columns) {
  out += line.substr(0, columns);
  out += '\n';
}

std::string records(const Stepper& stepper, const EventText& text, std::size_t rows,
                    std::size_t columns) {
  const TraceSource& source = stepper.source();
  // Counted with the current one. Near the end, where little follows, more of what was before.
  const std::uint64_t follow = source.end() - 1 - stepper.position();
  const std::uint64_t wanted = std::max<std::uint64_t>(rows / 3, rows - std::min(rows, follow));
  const std::uint64_t above = std::min(wanted, stepper.position() - (source.first() - 1));
  std::string out;
  for (std::uint64_t row = 0, number = stepper.position() - above + (above == 0 ? 0 : 1);
       row < rows; ++row, ++number) {
    if (number < source.first()) {
      append_line(out, "> (before the first record)", columns);
      continue;
    }
    std::string line;
    const char* const mark = number == stepper.position() ? "> " : "  ";
    line += mark;
    if (number >= source.end()) {
      line += '~';
    } else if (const auto record = source.at(number)) {
      text.line(*record, line);
    } else {
      vmm::append_text(line, "{:>9} (missing)", number);
    }
    append_line(out, line, columns);
  }
  return out;
}

std::string by_order(const Stepper& stepper, std::size_t columns) {
  const auto sums = stepper.model().frames().bytes_by_order();
  std::string head = fmt::format("{:<9}", "MiB/order");
  for (unsigned order = 0; order < abi::order_count; ++order) {
    head += fmt::format("{:>7}", order);
  }
  std::string out;
  append_line(out, head + fmt::format("{:>9}", "all"), columns);
  for (const FrameState state : {FrameState::allocated, FrameState::fresh, FrameState::isolated,
                                 FrameState::reported, FrameState::declined}) {
    const BytesByOrder& row = sums[static_cast<std::size_t>(state)];
    std::string line = fmt::format("{:<9}", state_names[static_cast<std::size_t>(state)]);
    std::uint64_t all = 0;
    for (const std::uint64_t bytes : row) {
      all += bytes;
      line += bytes == 0 ? fmt::format("{:>7}", "-")
                         : fmt::format("{:>7.1f}", static_cast<double>(bytes) / (1U << 20));
    }
    append_line(out, line + fmt::format("{:>9.1f}", static_cast<double>(all) / (1U << 20)),
                columns);
  }
  return out;
}

std::string_view stage_name(BatchState::Stage stage) {
  switch (stage) {
  case BatchState::Stage::submitted:
    return "submitted";
  case BatchState::Stage::taken:
    return "taken";
  case BatchState::Stage::discarding:
    return "discarding";
  case BatchState::Stage::discarded:
    return "discarded";
  case BatchState::Stage::answered:
    return "answered";
  case BatchState::Stage::dropped:
    return "answer dropped";
  }
  return "?";
}

std::string batches(const Stepper& stepper, std::uint64_t now_ns, std::size_t columns) {
  const auto& all = stepper.model().batches();
  std::string out;
  append_line(out, fmt::format("in flight: {} batches", all.size()), columns);
  std::size_t shown = 0;
  for (const auto& [key, batch] : all) {
    if (shown++ == max_batches_shown) {
      append_line(out, "  ...", columns);
      break;
    }
    append_line(out,
                fmt::format("  #{} batch {}: {}, {} ranges, {}, {} old{}", key.first, key.second,
                            stage_name(batch.stage), batch.ranges, size_text(batch.bytes),
                            vmm::human_duration_ns(now_ns - std::min(now_ns, batch.submit_ns)),
                            batch.quarantined ? ", quarantined" : ""),
                columns);
  }
  return out;
}

// Each letter is a piece of RAM, in the state that most of its frames are in.
std::string memory_map(const Stepper& stepper, std::size_t columns) {
  const FrameMap& frames = stepper.model().frames();
  const std::size_t width = columns > 12 ? columns - 12 : 1;
  const std::uint64_t cells = map_rows * width;
  const std::uint64_t per_cell = std::max<std::uint64_t>(1, (frames.frames() + cells - 1) / cells);
  std::string out;
  for (std::size_t row = 0; row < map_rows; ++row) {
    std::string line =
        fmt::format("{:>10} ", fmt::format("{:#x}", (row * width * per_cell) << abi::page_shift));
    for (std::size_t column = 0; column < width; ++column) {
      const std::uint64_t begin = (row * width + column) * per_cell;
      std::array<std::uint64_t, frame_state_count> counts{};
      for (std::uint64_t frame = begin; frame < std::min(begin + per_cell, frames.frames());
           ++frame) {
        ++counts[static_cast<std::size_t>(frames.state(frame)) % frame_state_count];
      }
      const auto most = std::ranges::max_element(counts) - counts.begin();
      line += map_letters[static_cast<std::size_t>(most)];
    }
    append_line(out, line, columns);
  }
  append_line(
      out,
      fmt::format("map: {} a letter; . unknown, # in use, o free, ~ isolated, - reported, x "
                  "declined",
                  size_text(per_cell << abi::page_shift)),
      columns);
  return out;
}

} // namespace

std::string render_screen(const Stepper& stepper, const EventText& text, ScreenSize size) {
  const TraceSource& source = stepper.source();
  const auto record = stepper.record();
  const std::uint64_t now_ns = record ? record->time_ns : 0;
  const MemoryView& memory = stepper.model().memory();
  const auto latency = stepper.model().latency_ns();
  std::string out;
  append_line(
      out,
      fmt::format("record {} of {}  {} s{}", stepper.position(), source.end() - 1, seconds(now_ns),
                  latency
                      ? fmt::format("  {} since the submission", vmm::human_duration_ns(*latency))
                      : std::string()),
      size.columns);
  const std::size_t rows =
      size.rows > rows_beside_records + 3 ? size.rows - rows_beside_records : 3;
  out += records(stepper, text, rows, size.columns);
  append_line(out, std::string(size.columns, '-'), size.columns);
  out += by_order(stepper, size.columns);
  append_line(out,
              fmt::format("guest says: live {}, free {}, reported {}, isolated {}, cached {}; "
                          "resident {}",
                          size_text(memory.live_bytes), size_text(memory.fresh_bytes),
                          size_text(memory.reported_bytes), size_text(memory.isolated_bytes),
                          size_text(memory.cached_bytes), size_text(memory.resident_bytes)),
              size.columns);
  out += batches(stepper, now_ns, size.columns);
  return out + memory_map(stepper, size.columns);
}

} // namespace hvtrace
