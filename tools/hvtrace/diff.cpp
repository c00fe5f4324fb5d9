// SPDX-License-Identifier: MIT
#include "tools/hvtrace/diff.hpp"

#include <optional>

#include <fmt/core.h>

#include "tools/hvtrace/columns.hpp"
#include "tools/hvtrace/stats.hpp"
#include "vmm/base/append_text.hpp"
#include "vmm/base/units.hpp"
#include "vmm/trace/event_text.hpp"

namespace hvtrace {
namespace {

using abi::TraceEvent;

bool is_counted(TraceEvent event) {
  return event == TraceEvent::batch || event == TraceEvent::range || event == TraceEvent::outcome ||
         event == TraceEvent::allocate || event == TraceEvent::free ||
         event == TraceEvent::quarantine;
}

// The records that say what was done, not when or how the host got there.
class Deeds {
 public:
  explicit Deeds(const TraceSource& source, bool blocks)
      : source_(source), blocks_(blocks), number_(source.first()) {}

  std::optional<abi::TraceRecord> next() {
    for (; number_ < source_.end(); ++number_) {
      const auto record = source_.at(number_);
      const bool is_block =
          record && (record->event == TraceEvent::allocate || record->event == TraceEvent::free);
      if (record && is_counted(record->event) && (blocks_ || !is_block)) {
        ++number_;
        return record;
      }
    }
    return std::nullopt;
  }

 private:
  const TraceSource& source_;
  bool blocks_;
  std::uint64_t number_;
};

bool same_deed(const abi::TraceRecord& left, const abi::TraceRecord& right) {
  return left.event == right.event && left.channel == right.channel && left.value == right.value &&
         left.order == right.order && left.detail == right.detail && left.count == right.count &&
         left.address == right.address;
}

std::string deed_text(const std::optional<abi::TraceRecord>& record, const EventText& text) {
  if (!record) {
    return "(nothing more)";
  }
  std::string out;
  text.line(*record, out);
  return out;
}

} // namespace

DiffResult diff(const TraceSource& left, const vmm::Symbols& left_symbols, const TraceSource& right,
                const vmm::Symbols& right_symbols) {
  const Totals a = total(left);
  const Totals b = total(right);
  std::string out;
  const auto row = [&out](std::string_view what, const std::string& one, const std::string& other) {
    vmm::append_text(out, "  {:<24} {:>14} {:>14}{}\n", what, one, other,
                     one == other ? "" : "  *");
  };
  const auto number = [&](std::string_view what, std::uint64_t one, std::uint64_t other) {
    row(what, fmt::format("{}", one), fmt::format("{}", other));
  };
  out += heading(diff_columns());
  row("level", std::string(level_name(left.header().level)),
      std::string(level_name(right.header().level)));
  row("policy", fmt::format("o{} b{}", left.header().policy.order, left.header().policy.batch),
      fmt::format("o{} b{}", right.header().policy.order, right.header().policy.batch));
  row("duration", vmm::human_duration_ns(a.duration_ns), vmm::human_duration_ns(b.duration_ns));
  number("records", a.records, b.records);
  for (const TraceEvent event :
       {TraceEvent::doorbell, TraceEvent::batch, TraceEvent::range, TraceEvent::answer,
        TraceEvent::allocate, TraceEvent::free, TraceEvent::quarantine}) {
    number(EventText(left.header(), nullptr).name(event), a.of(event), b.of(event));
  }
  row("hinted", size_text(a.hinted_bytes()), size_text(b.hinted_bytes()));
  row("discarded", size_text(a.discarded_bytes()), size_text(b.discarded_bytes()));
  row("peak resident", size_text(a.peak_resident_bytes), size_text(b.peak_resident_bytes));
  row("last resident", size_text(a.final_resident_bytes), size_text(b.final_resident_bytes));
  row("answer p50", vmm::human_duration_ns(a.answer.percentile(50)),
      vmm::human_duration_ns(b.answer.percentile(50)));
  row("answer p99", vmm::human_duration_ns(a.answer.percentile(99)),
      vmm::human_duration_ns(b.answer.percentile(99)));

  // Allocations are compared only where both traces have all of them.
  const bool blocks = left.header().level == right.header().level;
  Deeds lefts(left, blocks);
  Deeds rights(right, blocks);
  std::uint64_t same = 0;
  DiffResult result;
  for (;;) {
    const auto one = lefts.next();
    const auto other = rights.next();
    if (!one && !other) {
      result.same = true;
      vmm::append_text(out, "\nno divergence: the same {} steps\n", same);
      break;
    }
    if (!one || !other || !same_deed(*one, *other)) {
      vmm::append_text(out, "\nfirst divergence after {} equal steps\n  A {}\n  B {}\n", same,
                       deed_text(one, EventText(left.header(), &left_symbols)),
                       deed_text(other, EventText(right.header(), &right_symbols)));
      break;
    }
    ++same;
  }
  result.text = out;
  return result;
}

} // namespace hvtrace
