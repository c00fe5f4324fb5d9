// SPDX-License-Identifier: MIT
// What a reader of a trace remembers of each batch that is on its way, by channel and batch id.
// Bounded, whatever a damaged or hostile trace says: beyond what any guest's channels can hold,
// quarantined batches included, one makes room for the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "shared/trace_record.hpp"

namespace hvtrace {

template <typename State> class OpenBatches {
 public:
  using Key = std::pair<std::uint8_t, std::uint64_t>; // channel, batch id
  static constexpr std::size_t most = 4096;

  // That of the batch which `record` is about (its event has a batch id in `value`); null when none
  // is open.
  [[nodiscard]] State* find(const abi::TraceRecord& record) {
    const auto found = batches_.find(key(record));
    return found == batches_.end() ? nullptr : &found->second;
  }
  [[nodiscard]] const State* find(const abi::TraceRecord& record) const {
    const auto found = batches_.find(key(record));
    return found == batches_.end() ? nullptr : &found->second;
  }
  // The same, made when there is none.
  State& open(const abi::TraceRecord& record) {
    if (State* const known = find(record)) {
      return *known;
    }
    if (batches_.size() >= most) {
      batches_.erase(batches_.begin());
    }
    return batches_[key(record)];
  }
  void close(const abi::TraceRecord& record) { batches_.erase(key(record)); }

  [[nodiscard]] std::size_t size() const { return batches_.size(); }
  [[nodiscard]] bool empty() const { return batches_.empty(); }
  // Pairs of Key and State, by channel and id.
  [[nodiscard]] auto begin() const { return batches_.begin(); }
  [[nodiscard]] auto end() const { return batches_.end(); }

 private:
  static Key key(const abi::TraceRecord& record) { return {record.channel, record.value}; }

  std::map<Key, State> batches_;
};

} // namespace hvtrace
