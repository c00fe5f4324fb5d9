// SPDX-License-Identifier: MIT
#include "vmm/settings/fault_options.hpp"

#include <limits>
#include <string>

#include "vmm/base/option_values.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

// Takes one item of --host-fault into `faults`.
Result<void> take_item(std::string_view item, FaultOptions& faults) {
  const std::string_view key = key_of(item);
  if (key == "reorder") {
    if (item != key) {
      return user_error("--host-fault {:?}: reorder takes no value", item);
    }
    faults.reorder = true;
    return {};
  }
  if (key.size() == item.size()) {
    return user_error("--host-fault {:?}: must be any of delay=TIME, drop=, duplicate=, partial=, "
                      "decline=, fail= (fractions), reorder, stall-after=N separated by commas",
                      item);
  }
  const std::string_view value = item.substr(key.size() + 1);
  const std::string name = fmt::format("--host-fault {}", key);
  if (key == "delay") {
    const auto delay = parse_duration_ns(value);
    if (!delay || *delay > max_fault_delay_ns) {
      return user_error("{} {:?}: must be a time of at most 10s; write milliseconds such as 0.5, "
                        "or 500us, 2s",
                        name, value);
    }
    faults.delay_ns = *delay;
    return {};
  }
  if (key == "stall-after") {
    EBB_TRY_ASSIGN(batches,
                   number_within(name, value, 0, std::numeric_limits<std::uint64_t>::max()));
    faults.stall_after = batches;
    return {};
  }
  double* const rate = key == "drop"        ? &faults.drop
                       : key == "duplicate" ? &faults.duplicate
                       : key == "partial"   ? &faults.partial
                       : key == "decline"   ? &faults.decline
                       : key == "fail"      ? &faults.fail
                                            : nullptr;
  if (rate == nullptr) {
    return user_error("--host-fault {:?}: no such key; there are delay, drop, duplicate, partial, "
                      "decline, fail, reorder and stall-after",
                      key);
  }
  EBB_TRY_ASSIGN(fraction, fraction_of_one(name, value));
  *rate = fraction;
  return {};
}

} // namespace

Result<FaultOptions> parse_fault_options(std::string_view text) {
  FaultOptions faults;
  EBB_TRY(for_each_item("--host-fault", text,
                        [&](std::string_view item) { return take_item(item, faults); }));
  return faults;
}

} // namespace vmm
