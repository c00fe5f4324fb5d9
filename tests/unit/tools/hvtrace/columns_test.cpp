// SPDX-License-Identifier: MIT
#include "tools/hvtrace/columns.hpp"

#include <algorithm>
#include <set>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include "shared/trace_record.hpp"
#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/diff.hpp"
#include "tools/hvtrace/export.hpp"
#include "tools/hvtrace/list.hpp"
#include "tools/hvtrace/stats.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/trace/screen.hpp"
#include "vmm/trace/stepper.hpp"

using namespace hvtrace;

namespace {

class Trace {
 public:
  Trace()
      : bytes_(test_support::trace_bytes(test_support::trace_header(abi::TraceLevel::all),
                                         test_support::orderly_run())),
        file_(std::move(*TraceFile::parse(bytes_, "t"))) {}
  [[nodiscard]] const TraceFile& file() const { return file_; }

 private:
  std::vector<std::byte> bytes_;
  TraceFile file_;
};

std::set<std::string> names_of(std::string_view title_part) {
  std::set<std::string> names;
  for (const ColumnTable& table : column_tables()) {
    if (table.title.find(title_part) != std::string_view::npos) {
      for (const Column& column : table.columns) {
        names.emplace(column.name);
      }
    }
  }
  return names;
}

std::set<std::string> headings() {
  std::set<std::string> all;
  for (const ColumnTable& table : column_tables()) {
    all.insert(heading(table.columns));
  }
  return all;
}

} // namespace

TEST_CASE("columns: each is told once in its table, with a unit and a sentence") {
  const std::string text = explain_columns();
  for (const ColumnTable& table : column_tables()) {
    CAPTURE(table.title);
    CHECK(text.find(std::string(table.title) + "\n") != std::string::npos);
    std::set<std::string_view> names;
    for (const Column& column : table.columns) {
      CAPTURE(column.name);
      CHECK(names.insert(column.name).second);
      CHECK_FALSE(column.unit.empty());
      CHECK(column.unit.size() <= 11);
      CHECK(column.says.size() > 3);
      CHECK(text.find(column.says) != std::string::npos);
    }
  }
}

TEST_CASE("columns: the fields of all records are explained, and no others") {
  std::set<std::string> fields;
  for (const abi::TraceEventText& event : abi::trace_event_texts) {
    for (const char* const field :
         {event.address, event.value, event.count, event.order, event.detail}) {
      fields.insert(field);
    }
  }
  fields.erase("");
  CHECK(names_of("fields of records") == fields);
}

TEST_CASE("columns: what stands above a table is what is explained") {
  const Trace trace;
  const vmm::Symbols symbols;
  const std::set<std::string> known = headings();
  std::istringstream stats(render_stats(trace.file(), total(trace.file()), symbols, 10));
  bool begins = false;
  int found = 0;
  for (std::string line; std::getline(stats, line);) {
    if (begins && !line.starts_with("ranges in a batch:")) {
      CAPTURE(line);
      CHECK(known.contains(line + "\n"));
      ++found;
    }
    begins = line.empty();
  }
  CHECK(found == 3);

  const std::string diffs = diff(trace.file(), symbols, trace.file(), symbols).text;
  CHECK(known.contains(diffs.substr(0, diffs.find('\n') + 1)));

  std::string csv;
  export_csv(trace.file(), [&csv](std::string_view piece) { csv += piece; });
  std::istringstream names(csv.substr(0, csv.find('\n')));
  const std::set<std::string> csv_names = names_of("csv");
  std::size_t count = 0;
  for (std::string name; std::getline(names, name, ',');) {
    CHECK(csv_names.contains(name));
    ++count;
  }
  CHECK(count == csv_names.size());

  const EventText text(trace.file().header(), nullptr);
  const std::string screen = render_screen(Stepper(trace.file()), text, {});
  const std::size_t begin = screen.find("MiB/order");
  REQUIRE(begin != std::string::npos);
  std::istringstream words(screen.substr(begin, screen.find('\n', begin) - begin));
  const std::set<std::string> states = names_of("step: memory");
  for (std::string word; words >> word;) {
    const bool is_order = std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
    CHECK(states.contains(is_order ? "0 to 10" : word));
  }
}

TEST_CASE("list: a filter that asks for latencies shows them, another one does not") {
  const Trace trace;
  const vmm::Symbols symbols;
  const auto listed = [&](const char* condition) {
    std::string out;
    list(trace.file(), *Filter::parse(condition), symbols,
         [&out](std::string_view piece) { out += piece; });
    return out;
  };
  const std::string asked = listed("latency>=1us and event=answer");
  CHECK(asked.find(" answer ") != std::string::npos);
  CHECK(asked.find(" latency=") != std::string::npos);
  CHECK(std::ranges::count(asked, '\n') == 2);
  // What is shown can be asked for again.
  const std::size_t begin = asked.find(" latency=") + 1;
  CHECK_FALSE(listed(asked.substr(begin, asked.find('\n') - begin).c_str()).empty());
  CHECK(listed("event=answer").find("latency") == std::string::npos);
}
