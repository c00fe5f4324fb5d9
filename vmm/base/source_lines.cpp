// SPDX-License-Identifier: MIT
#include "vmm/base/source_lines.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/core.h>

namespace vmm {

SourceLines SourceLines::read(const ElfFile& file) {
  SourceLines result;
  result.lines_ = file.section(".debug_line", most_section_bytes);
  result.line_strings_ = file.section(".debug_line_str", most_section_bytes);
  for (std::size_t offset = 0; offset < result.lines_.size();) {
    const auto unit = LineUnit::at(result.lines_, result.line_strings_, offset);
    if (!unit) {
      break;
    }
    unit->sequences([&](const LineUnit::Sequence& sequence) {
      // The linker leaves what it has thrown away at 0.
      if (sequence.start != 0 && sequence.start < sequence.end &&
          result.sequences_.size() < most_sequences) {
        result.sequences_.push_back({sequence, offset});
      }
    });
    offset = unit->end();
  }
  std::ranges::sort(result.sequences_, {}, [](const Sequence& one) { return one.where.start; });
  return result;
}

std::uint64_t SourceLines::bytes() const {
  return lines_.size() + line_strings_.size() + sequences_.size() * sizeof(Sequence) +
         row_count_ * sizeof(LineRow);
}

const std::vector<LineRow>& SourceLines::rows_of(const Sequence& sequence, const LineUnit& unit) {
  const auto [known, is_new] = rows_.try_emplace(sequence.where.program);
  if (is_new) {
    std::vector<LineRow>& rows = known->second;
    unit.rows(sequence.where.program, [this, &rows](const LineRow& row) {
      if (row_count_ < most_rows) {
        rows.push_back(row);
        ++row_count_;
      }
    });
    if (row_count_ == most_rows) {
      rows.clear(); // rather none than some
    }
    // They rise, if the file is what it should be; of those with one address the last counts.
    if (!std::ranges::is_sorted(rows, {}, &LineRow::address)) {
      std::ranges::sort(rows, {}, &LineRow::address);
    }
  }
  return known->second;
}

std::string SourceLines::name_of(std::size_t unit_offset, const LineUnit& unit,
                                 std::uint32_t file) {
  const auto known = names_.find({unit_offset, file});
  if (known != names_.end()) {
    return known->second;
  }
  if (names_.size() == most_names) {
    return {};
  }
  std::string name = unit.file_name(file);
  name.resize(std::min(name.size(), most_name_bytes));
  return names_[{unit_offset, file}] = std::move(name);
}

std::string SourceLines::at(std::uint64_t address) {
  const auto start_of = [](const Sequence& sequence) { return sequence.where.start; };
  const auto after = std::ranges::upper_bound(sequences_, address, {}, start_of);
  if (after == sequences_.begin() || address >= std::prev(after)->where.end) {
    return {};
  }
  const Sequence& sequence = *std::prev(after);
  const auto unit = LineUnit::at(lines_, line_strings_, sequence.unit);
  if (!unit) {
    return {};
  }
  const std::vector<LineRow>& rows = rows_of(sequence, *unit);
  const auto behind = std::ranges::upper_bound(rows, address, {}, &LineRow::address);
  if (behind == rows.begin() || std::prev(behind)->line == 0) {
    return {};
  }
  const LineRow& row = *std::prev(behind);
  const std::string name = name_of(sequence.unit, *unit, row.file);
  return name.empty() ? std::string() : fmt::format("{}:{}", name, row.line);
}

} // namespace vmm
