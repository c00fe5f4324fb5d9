// SPDX-License-Identifier: MIT
// The columns of what hvtrace prints, in one place: headings are made of them, and `hvtrace help
// columns` explains them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hvtrace {

enum class Side : std::uint8_t { left, right };

struct Column {
  std::string_view name; // as in the heading, or, of a field of a record, behind its event
  std::string_view unit; // "-": none
  std::string_view says;
  int width = 0; // in the heading
  Side side = Side::right;
};

struct ColumnTable {
  std::string_view title; // "stats: latency": the command, and what it is a table of
  std::span<const Column> columns;
};

[[nodiscard]] std::span<const Column> latency_columns();
[[nodiscard]] std::span<const Column> order_columns();
[[nodiscard]] std::span<const Column> site_columns();
[[nodiscard]] std::span<const Column> csv_columns();
[[nodiscard]] std::span<const Column> diff_columns();
// All of them, those without a heading too.
[[nodiscard]] std::span<const ColumnTable> column_tables();

// "  order     ranges ...": two blanks in front, one between two columns, a newline.
[[nodiscard]] std::string heading(std::span<const Column> columns);
// A paragraph a table, a line a column.
[[nodiscard]] std::string explain_columns();

} // namespace hvtrace
