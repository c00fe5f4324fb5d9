// SPDX-License-Identifier: MIT
#include "vmm/trace/why.hpp"

#include <deque>
#include <vector>

#include <fmt/core.h>

#include "shared/report_channel.hpp"
#include "vmm/base/units.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/model.hpp"

namespace hvtrace {
namespace {

using abi::TraceEvent;
using abi::TraceLevel;

class History {
 public:
  History(const TraceSource& source, std::uint64_t gpa, const vmm::Symbols& symbols,
          std::size_t limit)
      : source_(source), model_(source), gpa_(gpa), symbols_(symbols), limit_(limit) {}

  void take(const abi::TraceRecord& record) {
    std::vector<Violation> objections;
    const auto before = describe(record);
    model_.apply(record, objections);
    note_span(record);
    if (before) {
      say(record, *before);
    }
    for (const Violation& objection : objections) {
      if (before) {
        say(record, "PROTOCOL: " + objection.text);
      }
    }
  }

  [[nodiscard]] std::string text() const {
    std::string out = fmt::format("page {:#x}\n", gpa_);
    if (dropped_ != 0) {
      out += fmt::format("  ... {} earlier events\n", dropped_);
    }
    for (const std::string& line : lines_) {
      out += line;
    }
    return out + "  " + conclusion() + "\n";
  }

 private:
  // A discarded span takes with it what was declined, or not hinted, inside.
  void note_span(const abi::TraceRecord& record) {
    if (!covers(record)) {
      return;
    }
    if (record.event == TraceEvent::outcome && is_span(record)) {
      went_with_span_ = record.detail >> 4 == static_cast<std::uint8_t>(abi::Outcome::discarded);
    } else if (record.event == TraceEvent::allocate || record.event == TraceEvent::free) {
      went_with_span_ = false;
    }
  }
  static bool is_span(const abi::TraceRecord& record) {
    return (record.detail & 0xf) == static_cast<std::uint8_t>(abi::RangeKind::span);
  }

  [[nodiscard]] bool covers(const abi::TraceRecord& record) const {
    return record.order <= abi::max_order && gpa_ >= record.address &&
           gpa_ - record.address < abi::Order{record.order}.bytes();
  }

  [[nodiscard]] std::string by(std::uint64_t code) const {
    return code == 0 ? std::string() : " by " + symbols_.describe(code - 1);
  }

  [[nodiscard]] static std::string block(const abi::TraceRecord& record) {
    return fmt::format("{} block {:#x}", size_text(abi::Order{record.order}.bytes()),
                       record.address);
  }

  // What the record says of the page; empty when it says nothing.
  [[nodiscard]] std::optional<std::string> describe(const abi::TraceRecord& record) const {
    switch (record.event) {
    case TraceEvent::allocate:
      return covers(record) ? std::optional(allocation(record)) : std::nullopt;
    case TraceEvent::free:
      if (!covers(record)) {
        return std::nullopt;
      }
      return fmt::format("freed as {} on vCPU {}{}", block(record), record.channel,
                         by(record.value));
    case TraceEvent::unused:
      if (!covers(record)) {
        return std::nullopt;
      }
      return fmt::format("given back untouched as {}: still as the host left it", block(record));
    case TraceEvent::range:
      return covers(record) ? std::optional(submission(record)) : std::nullopt;
    case TraceEvent::outcome:
      return covers(record) ? outcome(record) : std::nullopt;
    case TraceEvent::refault:
      if (gpa_ < record.address || gpa_ - record.address >= record.value) {
        return std::nullopt;
      }
      return fmt::format("seen resident again (with {} from {:#x} on): touched since the discard",
                         size_text(record.value), record.address);
    default:
      return std::nullopt;
    }
  }

  [[nodiscard]] std::string allocation(const abi::TraceRecord& record) const {
    const bool reported = model_.frames().state(gpa_ >> abi::page_shift) == FrameState::reported;
    return fmt::format("allocated as {} on vCPU {}{}{}", block(record), record.channel,
                       by(record.value),
                       reported ? "; the host had discarded it, so the next touch refaults" : "");
  }

  [[nodiscard]] std::string submission(const abi::TraceRecord& record) const {
    const BatchState* const batch = model_.batches().find(record);
    if (record.detail == static_cast<std::uint8_t>(abi::RangeKind::span)) {
      return fmt::format("enclosed by a span: merged into free {}, of which batch {} of channel {} "
                         "hints a part",
                         block(record), record.value, record.channel);
    }
    return fmt::format("hinted as part of {}, range {} of batch {} on channel {}{}", block(record),
                       record.count, record.value, record.channel,
                       batch != nullptr && batch->code != 0
                           ? fmt::format(", which was completed{} and submitted at {} s",
                                         by(batch->code), seconds(batch->submit_ns))
                           : std::string());
  }

  [[nodiscard]] std::optional<std::string> outcome(const abi::TraceRecord& record) const {
    if (is_span(record)) {
      const bool discarded =
          record.detail >> 4 == static_cast<std::uint8_t>(abi::Outcome::discarded);
      return discarded && model_.frames().state(gpa_ >> abi::page_shift) == FrameState::declined
                 ? std::optional<std::string>("discarded after all, with the span around it")
                 : std::nullopt;
    }
    if ((record.detail & 0xf) != static_cast<std::uint8_t>(abi::RangeKind::hint)) {
      return std::nullopt;
    }
    const BatchState* const batch = model_.batches().find(record);
    const std::string after =
        batch == nullptr
            ? std::string()
            : fmt::format(", {} after the submission",
                          vmm::human_duration_ns(record.time_ns -
                                                 std::min(record.time_ns, batch->submit_ns)));
    return fmt::format("answered: {}{}", outcome_name(record.detail >> 4), after);
  }

  void say(const abi::TraceRecord& record, const std::string& what) {
    if (lines_.size() == limit_) {
      lines_.pop_front();
      ++dropped_;
    }
    lines_.push_back(fmt::format("  {} s  {}\n", seconds(record.time_ns), what));
  }

  [[nodiscard]] std::string conclusion() const {
    if (source_.header().level < TraceLevel::ranges) {
      return "=> unknown: this trace has no ranges; record with --trace-level ranges or all";
    }
    if (model_.frames().in_flight(gpa_ >> abi::page_shift)) {
      return "=> with the host: hinted and not answered, so neither side may touch it";
    }
    const FrameState state = model_.frames().state(gpa_ >> abi::page_shift);
    if (went_with_span_ && (state == FrameState::fresh || state == FrameState::declined)) {
      return "=> free and given back all the same: the host has discarded a span around it";
    }
    switch (state) {
    case FrameState::allocated:
      return "=> in use by the guest (or in a page cache of a vCPU)";
    case FrameState::fresh:
      return fmt::format("=> free and still resident: not hinted since its free. The policy hints "
                         "blocks of order {} and above (batch {}, keep {})",
                         source_.header().policy.order, source_.header().policy.batch,
                         size_text(source_.header().policy.keep_bytes));
    case FrameState::isolated:
      return "=> with the host: hinted and not answered";
    case FrameState::reported:
      return "=> free and given back: the host has discarded it";
    case FrameState::declined:
      return "=> free but resident: the host declined it; it is hinted again after its next use";
    case FrameState::unknown:
      break;
    }
    return source_.header().level == TraceLevel::all
               ? "=> never handed out by the guest's allocator"
               : "=> never hinted; whether it is in use, level `all` would tell";
  }

  const TraceSource& source_;
  Model model_;
  std::uint64_t gpa_;
  const vmm::Symbols& symbols_;
  std::size_t limit_;
  std::deque<std::string> lines_;
  std::uint64_t dropped_ = 0;
  bool went_with_span_ = false; // since its latest free or allocation
};

} // namespace

std::string why(const TraceSource& source, std::uint64_t gpa, const vmm::Symbols& symbols,
                std::size_t limit) {
  if (gpa >= source.header().ram_bytes) {
    return fmt::format("page {:#x}\n  => not guest memory: RAM ends at {:#x}\n", gpa,
                       source.header().ram_bytes);
  }
  History history(source, abi::align_down(gpa, abi::page_bytes), symbols, limit);
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      history.take(*record);
    }
  }
  return history.text();
}

} // namespace hvtrace
