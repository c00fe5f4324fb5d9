// SPDX-License-Identifier: MIT
#include "tools/hvtrace/trace_series.hpp"

#include <algorithm>
#include <utility>

namespace hvtrace {
namespace {

constexpr auto rotated = static_cast<std::uint8_t>(abi::TraceOrigin::rotated);
constexpr auto into_another = static_cast<std::uint8_t>(abi::TraceEnd::rotated);

// The writer says in both what it did, and in the second how many records the first has.
bool goes_on(const TraceFile& earlier, const TraceFile& later) {
  const std::uint64_t records = earlier.end() - 1;
  const auto last = earlier.at(records);
  const auto first = later.at(1);
  return earlier.finished() && last && last->event == abi::TraceEvent::end &&
         last->detail == into_another && first && first->event == abi::TraceEvent::continued &&
         first->detail == rotated && first->value == records &&
         earlier.header().image_hash == later.header().image_hash &&
         earlier.header().ram_bytes == later.header().ram_bytes &&
         earlier.header().level == later.header().level &&
         earlier.header().start_ns <= later.header().start_ns;
}

} // namespace

vmm::Result<TraceSeries> TraceSeries::open(const std::vector<std::string>& paths) {
  TraceSeries series;
  for (const std::string& path : paths) {
    EBB_TRY_ASSIGN(file, TraceFile::open(path));
    std::uint64_t before = 0;
    if (!series.parts_.empty()) {
      const Part& earlier = series.parts_.back();
      if (!goes_on(earlier.file, file)) {
        return vmm::user_error("{}: does not go on where {} ends", path, earlier.path);
      }
      before = earlier.before + earlier.file.end() - 1;
    }
    series.parts_.push_back({path, std::move(file), before});
  }
  return series;
}

std::optional<abi::TraceRecord> TraceSeries::at(std::uint64_t number) const {
  const auto after = std::ranges::upper_bound(parts_, number, {},
                                              [](const Part& part) { return part.before + 1; });
  if (after == parts_.begin()) {
    return std::nullopt;
  }
  const Part& part = *std::prev(after);
  auto record = part.file.at(number - part.before);
  if (record) {
    record->sequence = number;
    record->time_ns += part.file.header().start_ns - header().start_ns;
  }
  return record;
}

std::string TraceSeries::torn() const {
  const auto found =
      std::ranges::find_if(parts_, [](const Part& part) { return part.file.torn(); });
  return found == parts_.end() ? std::string() : found->path;
}

} // namespace hvtrace
