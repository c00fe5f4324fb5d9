// SPDX-License-Identifier: MIT
#include "tools/hvtrace/stats.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "shared/abi_version.hpp"
#include "shared/report_channel.hpp"
#include "tools/hvtrace/columns.hpp"
#include "vmm/base/append_text.hpp"
#include "vmm/base/units.hpp"
#include "vmm/measure/latency.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/open_batches.hpp"

namespace hvtrace {
namespace {

using abi::TraceEvent;

constexpr std::size_t max_sites = 4096;

// A batch on its way. What the trace does not tell (its beginning was dropped, or lost) is empty,
// and what would be counted from there is not counted.
struct Open {
  std::optional<std::uint64_t> submit_ns{}, discard_ns{};
  std::uint64_t code = 0;
};

class Counter {
 public:
  Totals totals;

  void take(const abi::TraceRecord& record) {
    ++totals.records;
    ++totals.events[static_cast<std::uint8_t>(record.event)];
    totals.duration_ns = std::max(totals.duration_ns, record.time_ns);
    switch (record.event) {
    case TraceEvent::submit:
      open_.open(record) = {.submit_ns = record.time_ns, .code = record.address};
      break;
    case TraceEvent::batch: {
      Open& batch = open_.open(record);
      if (!batch.submit_ns) {
        batch.submit_ns = record.time_ns;
      }
      totals.fill.add(record.count);
      SiteTotals& site = site_of(batch.code);
      ++site.batches;
      site.ranges += record.count;
      break;
    }
    case TraceEvent::discard_begin:
      discard_begin(record);
      break;
    case TraceEvent::discard_end:
      if (const Open* const batch = open_.find(record)) {
        add_since(totals.discard, record, batch->discard_ns);
      }
      break;
    case TraceEvent::range:
      ++totals.orders[record.order & 0xfU].ranges;
      break;
    case TraceEvent::outcome:
      outcome(record);
      break;
    case TraceEvent::answer:
      totals.host.add(record.address);
      if (const Open* const batch = open_.find(record)) {
        add_since(totals.answer, record, batch->submit_ns);
      }
      if (!guest_traced_) {
        open_.close(record); // nobody tells when it is taken in
      }
      break;
    case TraceEvent::drain:
      if (const Open* const batch = open_.find(record)) {
        add_since(totals.drain, record, batch->submit_ns);
        open_.close(record);
      }
      break;
    case TraceEvent::negotiated:
      guest_traced_ = (record.value & abi::feature_trace) != 0;
      break;
    case TraceEvent::allocate:
      totals.orders[record.order & 0xfU].reused_blocks += record.count != 0 ? 1 : 0;
      break;
    case TraceEvent::free:
      ++site_of(record.value).frees;
      break;
    case TraceEvent::refault:
      totals.refault_bytes += record.value;
      break;
    case TraceEvent::guest_lost:
      totals.guest_lost += record.value;
      break;
    case TraceEvent::resident:
      totals.peak_resident_bytes = std::max(totals.peak_resident_bytes, record.address);
      totals.final_resident_bytes = record.address;
      break;
    default:
      break;
    }
  }

 private:
  static void add_since(Distribution& times, const abi::TraceRecord& record,
                        std::optional<std::uint64_t> start_ns) {
    if (start_ns) {
      times.add(record.time_ns - std::min(record.time_ns, *start_ns));
    }
  }
  void discard_begin(const abi::TraceRecord& record) {
    Open* const batch = open_.find(record);
    if (batch != nullptr) {
      batch->discard_ns = record.time_ns;
    }
    site_of(batch != nullptr ? batch->code : 0).bytes += record.address;
  }
  SiteTotals& site_of(std::uint64_t code) {
    // Frees come in rows from one place.
    if (last_site_ != nullptr && code == last_code_) {
      return *last_site_;
    }
    const auto found = totals.sites.find(code);
    last_code_ = code;
    last_site_ = found != totals.sites.end()       ? &found->second
                 : totals.sites.size() < max_sites ? &totals.sites[code]
                                                   : &totals.sites[0];
    return *last_site_;
  }
  void outcome(const abi::TraceRecord& record) {
    if ((record.detail & 0xfU) != static_cast<std::uint8_t>(abi::RangeKind::hint) ||
        record.order > abi::max_order) {
      return;
    }
    OrderTotals& order = totals.orders[record.order];
    switch (static_cast<abi::Outcome>(record.detail >> 4)) {
    case abi::Outcome::discarded:
      order.discarded_bytes += abi::Order{record.order}.bytes();
      break;
    case abi::Outcome::declined:
      order.declined_bytes += abi::Order{record.order}.bytes();
      break;
    default:
      ++order.failed_ranges;
    }
  }

  OpenBatches<Open> open_;
  bool guest_traced_ = true; // until the trace says otherwise
  std::uint64_t last_code_ = 0;
  SiteTotals* last_site_ = nullptr;
};

void latency_line(std::string& out, std::string_view what, const Distribution& times) {
  if (times.count == 0) {
    return;
  }
  vmm::append_text(
      out, "  {:<22} {:>9} {:>9} {:>9} {:>9} {:>9}\n", what,
      vmm::human_duration_ns(times.percentile(50)), vmm::human_duration_ns(times.percentile(90)),
      vmm::human_duration_ns(times.percentile(99)), vmm::human_duration_ns(times.percentile(100)),
      vmm::human_duration_ns(times.sum / times.count));
}

} // namespace

void Distribution::add(std::uint64_t ns) {
  ++histogram.counts[abi::LatencyHistogram::bucket_of(ns)];
  ++count;
  sum += ns;
}

std::uint64_t Distribution::percentile(unsigned percent) const {
  return vmm::percentile_ns(histogram, percent / 100.0).value_or(0);
}

void BatchFill::add(std::uint64_t ranges) {
  ++batches[std::min<std::uint64_t>(ranges, abi::max_batch_ranges)];
  ++count;
  sum += ranges;
}

std::uint64_t BatchFill::percentile(unsigned percent) const {
  const std::uint64_t wanted = std::max<std::uint64_t>(1, (count * percent + 99) / 100);
  std::uint64_t seen = 0;
  for (std::uint64_t ranges = 0; ranges < batches.size(); ++ranges) {
    seen += batches[ranges];
    if (seen >= wanted) {
      return ranges;
    }
  }
  return 0;
}

std::uint64_t Totals::hinted_bytes() const {
  std::uint64_t sum = 0;
  for (const OrderTotals& order : orders) {
    sum += order.discarded_bytes + order.declined_bytes;
  }
  return sum;
}

std::uint64_t Totals::discarded_bytes() const {
  std::uint64_t sum = 0;
  for (const OrderTotals& order : orders) {
    sum += order.discarded_bytes;
  }
  return sum;
}

Totals total(const TraceSource& source) {
  Counter counter;
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    if (const auto record = source.at(number)) {
      counter.take(*record);
    } else {
      ++counter.totals.missing;
    }
  }
  return counter.totals;
}

std::string render_stats(const TraceSource& source, const Totals& totals,
                         const vmm::Symbols& symbols, std::size_t top) {
  std::string out;
  vmm::append_text(out, "{} records in {}: {} doorbells, {} batches, {} answers\n", totals.records,
                   vmm::human_duration_ns(totals.duration_ns), totals.of(TraceEvent::doorbell),
                   totals.of(TraceEvent::batch), totals.of(TraceEvent::answer));
  vmm::append_text(out, "resident: peak {}, last {}\n", size_text(totals.peak_resident_bytes),
                   size_text(totals.final_resident_bytes));
  if (totals.refault_bytes != 0) {
    vmm::append_text(out, "seen resident again after a discard: {}\n",
                     size_text(totals.refault_bytes));
  }
  if (totals.guest_lost != 0) {
    vmm::append_text(out, "events of the guest that were lost: {}\n", totals.guest_lost);
  }
  if (totals.host.count != 0) {
    out += "\n" + heading(latency_columns());
    latency_line(out, "submission to answer", totals.answer);
    latency_line(out, "submission to drain", totals.drain);
    latency_line(out, "host, whole batch", totals.host);
    latency_line(out, "host, discarding", totals.discard);
    const std::uint64_t full = source.header().policy.batch;
    vmm::append_text(out, "\nranges in a batch: p50 {}, p90 {}, max {}, mean {} (full: {})\n",
                     totals.fill.percentile(50), totals.fill.percentile(90),
                     totals.fill.percentile(100),
                     totals.fill.sum / std::max<std::uint64_t>(totals.fill.count, 1), full);
  }
  if (totals.of(TraceEvent::outcome) != 0) {
    out += "\n" + heading(order_columns());
    for (std::size_t order = 0; order < totals.orders.size(); ++order) {
      const OrderTotals& row = totals.orders[order];
      if (row.ranges != 0 || row.reused_blocks != 0) {
        vmm::append_text(out, "  {:<6} {:>9} {:>12} {:>12} {:>8} {:>10}\n", order, row.ranges,
                         size_text(row.discarded_bytes), size_text(row.declined_bytes),
                         row.failed_ranges, row.reused_blocks);
      }
    }
  }
  std::vector<std::pair<std::uint64_t, SiteTotals>> sites(totals.sites.begin(), totals.sites.end());
  std::ranges::sort(sites, [](const auto& left, const auto& right) {
    return std::tie(left.second.bytes, left.second.frees, right.first) >
           std::tie(right.second.bytes, right.second.frees, left.first);
  });
  if (!sites.empty()) {
    out += "\n" + heading(site_columns());
  }
  for (const auto& [code, site] : std::span(sites).first(std::min(top, sites.size()))) {
    vmm::append_text(out, "  {:>7} {:>9} {:>12} {:>9}  {}\n", site.batches, site.ranges,
                     size_text(site.bytes), site.frees,
                     code == 0 ? "unknown" : symbols.describe(code - 1));
  }
  return out;
}

} // namespace hvtrace
