// SPDX-License-Identifier: MIT
// Conditions on records, as of `list --filter` and the stepper's "until":
//
//   event=range and order>=4 and (outcome=declined or not channel=1)
//
// Fields: event, channel (vcpu), order, batch, gpa, count, code, time (ns, or with ms, us, s),
// latency (of an answer or drain, since its submission; likewise), outcome, kind, bytes, fault,
// mode, call (of a hypercall).
// A gpa is equal to every address of a block. A comparison of a field that a record has not is
// false. Operators: = != < <= > >=; and, or, not, parentheses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "shared/trace_record.hpp"
#include "vmm/base/result.hpp"

namespace hvtrace {

class Filter {
 public:
  // User error that says what was not understood.
  static vmm::Result<Filter> parse(const std::string& text);

  // `latency_ns`: of this record, where it is known.
  [[nodiscard]] bool matches(const abi::TraceRecord& record,
                             std::optional<std::uint64_t> latency_ns) const;
  [[nodiscard]] bool needs_latency() const { return needs_latency_; }

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
  bool needs_latency_ = false;
};

} // namespace hvtrace
