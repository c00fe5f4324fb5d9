// SPDX-License-Identifier: MIT
#include "tools/hvtrace/list.hpp"

#include <vector>

#include <fmt/core.h>

#include "vmm/base/append_text.hpp"
#include "vmm/trace/event_text.hpp"
#include "vmm/trace/model.hpp"

namespace hvtrace {
namespace {

constexpr std::size_t written_bytes = std::size_t{64} << 10;

} // namespace

void list(const TraceSource& source, const std::optional<Filter>& filter,
          const vmm::Symbols& symbols, const std::function<void(std::string_view)>& sink) {
  const EventText text(source.header(), &symbols);
  std::string out;
  const auto flush = [&] {
    sink(out);
    out.clear();
  };
  // Latencies take the whole protocol's state; only a filter that asks for them pays.
  std::optional<Model> model;
  if (filter && filter->needs_latency()) {
    model.emplace(source);
  }
  std::vector<Violation> ignored;
  for (std::uint64_t number = source.first(); number < source.end(); ++number) {
    const auto record = source.at(number);
    if (!record) {
      if (!filter) {
        vmm::append_text(out, "{:>9} (missing)\n", number);
      }
    } else {
      std::optional<std::uint64_t> latency_ns;
      if (model) {
        model->apply(*record, ignored);
        ignored.clear();
        latency_ns = model->latency_ns();
      }
      if (!filter || filter->matches(*record, latency_ns)) {
        text.line(*record, out);
        if (latency_ns) {
          vmm::append_text(out, " latency={}ns", *latency_ns);
        }
        out.push_back('\n');
      }
    }
    if (out.size() >= written_bytes) {
      flush();
    }
  }
  flush();
}

} // namespace hvtrace
