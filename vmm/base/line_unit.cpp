// SPDX-License-Identifier: MIT
#include "vmm/base/line_unit.hpp"

#include <algorithm>
#include <utility>

namespace vmm {
namespace {

// DWARF 5, 7.22: standard opcodes, extended ones, what an entry of a table has; 7.5.6: its forms.
enum class Opcode : std::uint8_t {
  extended,
  copy,
  advance_pc,
  advance_line,
  set_file,
  const_add_pc = 8,
  fixed_advance_pc = 9
};
enum class Extended : std::uint8_t { end_sequence = 1, set_address = 2 };
enum class Content : std::uint64_t { path = 1, directory_index = 2 };
enum class Form : std::uint64_t {
  block2 = 0x03,
  block4 = 0x04,
  data2 = 0x05,
  data4 = 0x06,
  data8 = 0x07,
  string = 0x08,
  block = 0x09,
  block1 = 0x0a,
  data1 = 0x0b,
  strp = 0x0e,
  udata = 0x0f,
  data16 = 0x1e,
  line_strp = 0x1f
};

// An entry of a table has no such number.
constexpr std::uint64_t no_entry = ~std::uint64_t{0};
constexpr std::size_t most_table_bytes = std::size_t{256} << 10;

std::string joined(const std::string& directory, const std::string& name) {
  if (directory.empty() || name.starts_with('/')) {
    return name;
  }
  return directory.ends_with('/') ? directory + name : directory + '/' + name;
}

} // namespace

std::optional<LineUnit> LineUnit::at(std::span<const std::byte> lines,
                                     std::span<const std::byte> line_strings, std::size_t offset) {
  LineUnit unit;
  DwarfBytes header(lines, offset);
  std::uint64_t length = header.take<std::uint32_t>();
  if (length == 0xffffffff) {
    unit.offset_bytes_ = 8;
    length = header.take<std::uint64_t>();
  }
  if (header.is_beyond() || length > lines.size() - header.at()) {
    return std::nullopt;
  }
  unit.end_ = header.at() + static_cast<std::size_t>(length);
  unit.lines_ = lines.first(unit.end_);
  unit.line_strings_ = line_strings;
  header = DwarfBytes(unit.lines_, header.at());
  unit.version_ = header.take<std::uint16_t>();
  if (unit.version_ >= 5) {
    header.take_bytes(2); // sizes of addresses and of segments
  }
  const std::uint64_t header_length = header.take_number(unit.offset_bytes_);
  const std::size_t behind_length = header.at();
  unit.least_instruction_ = header.take<std::uint8_t>();
  if (unit.version_ >= 4) {
    header.take_bytes(1); // operations in an instruction: one, but on VLIW machines
  }
  header.take_bytes(1); // is_stmt at first
  unit.line_base_ = header.take<std::int8_t>();
  unit.line_range_ = header.take<std::uint8_t>();
  unit.opcode_base_ = header.take<std::uint8_t>();
  unit.opcode_lengths_ = header.take_bytes(unit.opcode_base_ == 0 ? 0 : unit.opcode_base_ - 1U);
  unit.tables_ = header.at();
  if (header.is_beyond() || header_length > unit.end_ - behind_length) {
    return std::nullopt;
  }
  unit.program_ = behind_length + static_cast<std::size_t>(header_length);
  if (unit.version_ < 2 || unit.version_ > 5 || unit.line_range_ == 0 || unit.opcode_base_ == 0) {
    unit.program_ = unit.end_; // of none that is known: no rows, but others may follow
  }
  return unit;
}

bool LineUnit::run(DwarfBytes& program, const std::function<void(const LineRow&)>& sink,
                   std::uint64_t& end) const {
  LineRow row{.address = 0, .file = 1, .line = 1};
  const auto advance = [&](std::uint64_t operations) {
    row.address += operations * least_instruction_;
  };
  const auto advance_lines = [&](std::int64_t lines) {
    row.line = static_cast<std::uint32_t>(row.line + static_cast<std::uint64_t>(lines));
  };
  while (!program.at_end()) {
    const auto opcode = program.take<std::uint8_t>();
    if (opcode >= opcode_base_) {
      const auto special = static_cast<unsigned>(opcode - opcode_base_);
      advance(special / line_range_);
      advance_lines(line_base_ + static_cast<int>(special % line_range_));
      sink(row);
      continue;
    }
    switch (Opcode{opcode}) {
      using enum Opcode;
    case extended: {
      DwarfBytes operands(program.take_bytes(program.take_unsigned()), 0);
      const Extended what{operands.take<std::uint8_t>()};
      if (what == Extended::end_sequence && !program.is_beyond()) {
        end = row.address;
        return true;
      }
      if (what == Extended::set_address) {
        row.address = operands.take<std::uint64_t>();
      }
      break;
    }
    case copy:
      sink(row);
      break;
    case advance_pc:
      advance(program.take_unsigned());
      break;
    case advance_line:
      advance_lines(program.take_signed());
      break;
    case set_file:
      row.file = static_cast<std::uint32_t>(program.take_unsigned());
      break;
    case const_add_pc:
      advance((255U - opcode_base_) / line_range_);
      break;
    case fixed_advance_pc:
      row.address += program.take<std::uint16_t>();
      break;
    default: // columns and the like
      for (auto operand = std::to_integer<unsigned>(opcode_lengths_[opcode - 1U]);
           operand != 0 && !program.is_beyond(); --operand) {
        program.take_unsigned();
      }
      break;
    }
  }
  return false;
}

void LineUnit::sequences(const std::function<void(const Sequence&)>& sink) const {
  DwarfBytes program(lines_, program_);
  while (!program.at_end()) {
    Sequence sequence{.program = program.at()};
    bool has_rows = false;
    const auto take_first = [&](const LineRow& row) {
      sequence.start = has_rows ? sequence.start : row.address;
      has_rows = true;
    };
    if (run(program, take_first, sequence.end) && has_rows) {
      sink(sequence);
    }
  }
}

void LineUnit::rows(std::size_t program, const std::function<void(const LineRow&)>& sink) const {
  DwarfBytes from(lines_, program);
  std::uint64_t end = 0;
  run(from, sink, end);
}

bool LineUnit::value(DwarfBytes& from, std::uint64_t form, std::string& text,
                     std::uint64_t& number) const {
  switch (Form{form}) {
    using enum Form;
  case string:
    text = from.take_string();
    return true;
  case line_strp: {
    const std::uint64_t at = from.take_number(offset_bytes_);
    if (at < line_strings_.size()) {
      text = DwarfBytes(line_strings_, static_cast<std::size_t>(at)).take_string();
    }
    return true;
  }
  case strp: // in a section that no compiler puts names of files in
    from.take_bytes(offset_bytes_);
    return true;
  case udata:
    number = from.take_unsigned();
    return true;
  case data1:
    number = from.take<std::uint8_t>();
    return true;
  case data2:
    number = from.take<std::uint16_t>();
    return true;
  case data4:
    number = from.take<std::uint32_t>();
    return true;
  case data8:
    number = from.take<std::uint64_t>();
    return true;
  case data16: // a checksum
    from.take_bytes(16);
    return true;
  case block:
    from.take_bytes(from.take_unsigned());
    return true;
  case block1:
    from.take_bytes(from.take<std::uint8_t>());
    return true;
  case block2:
    from.take_bytes(from.take<std::uint16_t>());
    return true;
  case block4:
    from.take_bytes(from.take<std::uint32_t>());
    return true;
  }
  return false;
}

std::optional<LineUnit::Entry> LineUnit::entry(DwarfBytes& tables, std::uint64_t index) const {
  const auto formats = tables.take<std::uint8_t>();
  DwarfBytes format = tables;
  for (unsigned field = 0; field < 2U * formats; ++field) {
    tables.take_unsigned();
  }
  const std::uint64_t count = tables.take_unsigned();
  for (std::uint64_t number = 0; number < count; ++number) {
    Entry found;
    DwarfBytes fields = format;
    const std::size_t before = tables.at();
    for (unsigned field = 0; field < formats; ++field) {
      const Content content{fields.take_unsigned()};
      std::string text;
      std::uint64_t value_of = 0;
      if (!value(tables, fields.take_unsigned(), text, value_of)) {
        return std::nullopt;
      }
      if (content == Content::path) {
        found.name = std::move(text);
      } else if (content == Content::directory_index) {
        found.directory = value_of;
      }
    }
    // Entries of nothing could be without end.
    if (tables.is_beyond() || tables.at() == before) {
      return std::nullopt;
    }
    if (number == index) {
      return found;
    }
  }
  return std::nullopt;
}

std::optional<std::string> LineUnit::old_directory(DwarfBytes& tables, std::uint64_t index) const {
  std::optional<std::string> found;
  for (std::uint64_t number = 1; !tables.is_beyond(); ++number) {
    std::string name = tables.take_string();
    if (name.empty()) {
      break;
    }
    if (number == index) {
      found = std::move(name);
    }
  }
  return found;
}

std::optional<LineUnit::Entry> LineUnit::old_file(DwarfBytes& tables, std::uint64_t index) const {
  for (std::uint64_t number = 1; !tables.is_beyond(); ++number) {
    Entry entry{tables.take_string(), 0};
    if (entry.name.empty()) {
      break;
    }
    entry.directory = tables.take_unsigned();
    tables.take_unsigned(); // when it was changed
    tables.take_unsigned(); // its bytes
    if (number == index && !tables.is_beyond()) {
      return entry;
    }
  }
  return std::nullopt;
}

std::string LineUnit::file_name(std::uint32_t file) const {
  // Each name is looked for from their beginning on: that of a huge one would take long.
  const auto tables = lines_.first(std::min(program_, tables_ + most_table_bytes));
  const DwarfBytes directories(tables, tables_);
  DwarfBytes files = directories;
  const bool is_old = version_ < 5;
  if (is_old) {
    old_directory(files, no_entry);
  } else {
    entry(files, no_entry);
  }
  const auto found = is_old ? old_file(files, file) : entry(files, file);
  if (!found) {
    return {};
  }
  // 0 is the directory of the compilation.
  std::string directory;
  if (found->directory != 0) {
    DwarfBytes from = directories;
    if (is_old) {
      directory = old_directory(from, found->directory).value_or(std::string());
    } else if (const auto known = entry(from, found->directory)) {
      directory = known->name;
    }
  }
  const std::string name = joined(directory, found->name);
  return name.starts_with("./") ? name.substr(2) : name;
}

} // namespace vmm
