// SPDX-License-Identifier: MIT
#include "tools/hvtrace/check.hpp"

#include <algorithm>
#include <optional>
#include <string>

namespace hvtrace {
namespace {

// Writers that a kill can catch between claiming slots and filling them: each has at most one
// batch's ranges, and there are not more than this many.
constexpr std::uint64_t torn_tail_records = std::uint64_t{32} * 513;

} // namespace

CheckResult check(const TraceSource& source) {
  CheckResult result;
  Model model(source);
  std::vector<Violation> found;
  std::optional<std::uint64_t> hole; // the first of the missing records up to here
  const auto keep = [&] {
    result.violation_count += found.size();
    for (Violation& violation : found) {
      if (result.violations.size() < max_violations_kept) {
        result.violations.push_back(std::move(violation));
      }
    }
    found.clear();
  };
  // A hole in the last records of an unfinished trace is how kills look.
  const auto forgivable = [&](std::uint64_t number) {
    return !source.finished() && source.end() - number <= torn_tail_records;
  };
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    const auto record = source.at(number);
    if (!record) {
      model.apply_missing(number);
      if (forgivable(number)) {
        ++result.unfinished;
        // What follows may depend on what is missing.
        result.incomplete = true;
        break;
      }
      if (!hole) {
        hole = number;
        found.push_back({number, "record missing or damaged"});
        keep();
      }
      continue;
    }
    hole.reset();
    ++result.records;
    model.apply(*record, found);
    if (!found.empty()) [[unlikely]] {
      keep();
    }
  }
  result.incomplete = result.incomplete || !source.finished();
  if (source.finished() && !model.ended()) {
    found.push_back({source.end(),
                     source.cut_off() != 0
                         ? std::to_string(source.cut_off()) + " records are cut off the file's end"
                         : "closed in order, but without an end record"});
  }
  if (!result.incomplete) {
    model.finish(found);
  }
  keep();
  result.guest_complete = model.guest_complete();
  result.guest_lost = model.guest_lost();
  return result;
}

} // namespace hvtrace
