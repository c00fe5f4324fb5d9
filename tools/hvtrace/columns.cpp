// SPDX-License-Identifier: MIT
#include "tools/hvtrace/columns.hpp"

#include <array>

#include <fmt/core.h>

#include "vmm/base/append_text.hpp"

namespace hvtrace {
namespace {

constexpr std::array latencies{
    Column{"latency", "-",
           "what is timed: from a batch's submission to its answer, or to the moment at which the "
           "guest takes it in (drain); the host's work on a batch; of that, the discarding calls",
           22, Side::left},
    Column{"p50", "time", "half of the batches took no longer", 9},
    Column{"p90", "time", "nine in ten took no longer", 9},
    Column{"p99", "time", "99 in 100 took no longer; percentiles are right to an eighth", 9},
    Column{"max", "time", "the longest, right to an eighth", 9},
    Column{"mean", "time", "the average", 9},
};

constexpr std::array orders{
    Column{"order", "-", "of the range: its size is 2^order pages of 4 KiB", 6, Side::left},
    Column{"ranges", "count", "that batches named, hints and spans", 9},
    Column{"discarded", "bytes", "of hints that the host has given back", 12},
    Column{"declined", "bytes", "of hints that the host has left as they were", 12},
    Column{"failed", "count", "hints that the host did not accept", 8},
    Column{"reused", "count", "blocks handed out again of which something had been discarded", 10},
};

constexpr std::array sites{
    Column{"batches", "count", "that this code completed and submitted", 7},
    Column{"ranges", "count", "in these batches", 9},
    Column{"bytes", "bytes", "that these batches gave to the discarding calls, spans whole", 12},
    Column{"frees", "count", "blocks that this code gave back to the buddy (level all)", 9},
    Column{" code that completed batches, or freed", "-",
           "the caller: its address, function and offset; unknown: the trace does not tell", 0},
};

constexpr std::array csv{
    Column{"number", "-", "of the record, 1 for the first of the run"},
    Column{"time_ns", "ns", "since the trace began"},
    Column{"event", "-", "what happened"},
    Column{"channel", "-", "the vCPU's report channel"},
    Column{"address", "-", "the field of that name in the table of `info`; 0 where there is none"},
    Column{"value", "-", "likewise"},
    Column{"count", "-", "likewise"},
    Column{"order", "-", "likewise"},
    Column{"detail", "-", "likewise, as a number"},
    Column{"name", "-", "what detail stands for, of a hypercall which one; else empty"},
};

constexpr std::array diffs{
    Column{"", "-", "what is compared", 24, Side::left},
    Column{"A", "as shown", "the first trace", 14},
    Column{"B", "as shown", "the other one; * behind it: they differ", 14},
};

// Lines of `list`, of the stepper and of the first divergence.
constexpr std::array lines{
    Column{"number", "-", "of the record, 1 for the first of the run"},
    Column{"time", "s", "since the trace began; the guest's events have the guest's time"},
    Column{"#channel", "-", "the vCPU's report channel"},
    Column{"event", "-", "what happened; `info` lists all that this trace can have"},
    Column{"field=...", "-", "what is known of it: see fields of records"},
    Column{"latency=", "ns",
           "since the batch's submission, of answers and drains; with a filter that asks for it"},
};

constexpr std::array infos{
    Column{"number", "-", "of the event, as records hold it"},
    Column{"event", "-", "its name"},
    Column{"fields", "-", "what address, value, count, order and detail of its records mean"},
};

constexpr std::array states{
    Column{"MiB/order", "-",
           "the state of memory: in use; free (not hinted since); isolated (with the host); "
           "reported (given back); declined"},
    Column{"0 to 10", "MiB", "in that state, as blocks of this order"},
    Column{"all", "MiB", "in that state"},
};

constexpr std::array fields{
    Column{"acceptable", "0 or 1", "whether the host accepted the batch as a whole"},
    Column{"answered", "pages", "of the block that had been discarded"},
    Column{"argument", "-", "the first one of the hypercall"},
    Column{"batch", "-", "its id, unique with the channel; of a mode: ranges that make one full"},
    Column{"bytes", "bytes",
           "to be discarded (discard_begin), discarded so far by that lane (discard_end), resident "
           "again (refault)"},
    Column{"cached bytes", "bytes", "free, in the page caches of the vCPUs"},
    Column{"call", "-", "which hypercall"},
    Column{"calls", "count", "discarding calls that this lane has made so far"},
    Column{"code", "-", "return address of who caused it"},
    Column{"end kind", "-", "how the run ended"},
    Column{"events", "count", "that were lost"},
    Column{"fault", "-", "what the host did to the batch, by --host-fault or by hand"},
    Column{"features", "bits", "that both sides agreed on, as in shared/boot_info.hpp"},
    Column{"fresh bytes", "bytes", "free, and not hinted since"},
    Column{"gpa", "address", "guest-physical, of the block's first byte"},
    Column{"host ns", "ns", "that the host worked on the batch"},
    Column{"index", "-", "of the range in its batch, from 0"},
    Column{"isolated bytes", "bytes", "with the host, not answered yet"},
    Column{"keep bytes", "bytes", "free memory that is never hinted"},
    Column{"kind", "-", "hint, or span: a free block around hints, which may go whole"},
    Column{"lane", "-", "which of the host's threads"},
    Column{"live bytes", "bytes", "allocated, by the guest's word"},
    Column{"managed gpa", "address", "where the memory begins that may be hinted"},
    Column{"method", "-", "how memory is given back: dontneed, free, none"},
    Column{"mode", "-", "who answers, or that reporting is on or off from now on"},
    Column{"order", "-", "of the block: 2^order pages of 4 KiB"},
    Column{"origin", "-", "why this trace does not begin with the run: started late, or rotated"},
    Column{"outcome", "-", "discarded, declined or failed"},
    Column{"part", "-", "which one of the traces of a run this is"},
    Column{"ram bytes", "bytes", "the end of guest memory"},
    Column{"ranges", "count", "in the batch"},
    Column{"records before", "count", "in the traces before this one"},
    Column{"reported bytes", "bytes", "free, and answered by the host"},
    Column{"resident bytes", "bytes", "of the host's memory behind the guest"},
    Column{"runs", "count", "neighbouring ranges that were put together: one each"},
    Column{"status", "-", "exit status of the guest"},
    Column{"value", "count or ns", "of host_...: worker threads; of reporting_...: the delay"},
    Column{"vcpu", "-", "that left the guest for it"},
    Column{"vcpus", "count", "of the guest"},
};

constexpr std::array tables{
    ColumnTable{"list, step, diff: records", lines},
    ColumnTable{"list, step, info: fields of records", fields},
    ColumnTable{"info: events", infos},
    ColumnTable{"stats: latency", latencies},
    ColumnTable{"stats: by order", orders},
    ColumnTable{"stats: call sites", sites},
    ColumnTable{"diff: totals", diffs},
    ColumnTable{"step: memory", states},
    ColumnTable{"export --format csv", csv},
};

} // namespace

std::span<const Column> latency_columns() {
  return latencies;
}
std::span<const Column> order_columns() {
  return orders;
}
std::span<const Column> site_columns() {
  return sites;
}
std::span<const Column> csv_columns() {
  return csv;
}
std::span<const Column> diff_columns() {
  return diffs;
}
std::span<const ColumnTable> column_tables() {
  return tables;
}

std::string heading(std::span<const Column> columns) {
  std::string line = " ";
  for (const Column& column : columns) {
    vmm::append_text(line, " ");
    if (column.side == Side::left) {
      vmm::append_text(line, "{:<{}}", column.name, column.width);
    } else {
      vmm::append_text(line, "{:>{}}", column.name, column.width);
    }
  }
  return line + "\n";
}

std::string explain_columns() {
  std::string out;
  for (const ColumnTable& table : tables) {
    vmm::append_text(out, "{}{}\n", out.empty() ? "" : "\n", table.title);
    for (const Column& column : table.columns) {
      std::string_view name = column.name;
      name.remove_prefix(name.starts_with(' ') ? 1 : 0);
      vmm::append_text(out, "  {:<15} {:<11} {}\n", name.empty() ? "(first)" : name, column.unit,
                       column.says);
    }
  }
  return out;
}

} // namespace hvtrace
