// SPDX-License-Identifier: MIT
// Was it worth it? Memory saved over time against the time spent on saving it, for a run and for
// each order of hint. Pure arithmetic over what a run measured.
//
//   saved    the model without reporting minus the measured integral of resident memory
//   spent    discarding calls (measured) + doorbells times a doorbell's measured cost
//            + memory that came back times a fault's measured cost
//   net      saved minus what the time spent would have bought, at the given price of memory
//
// Not in it, because a run cannot see it: the guest's own work on hints, and how much slower other
// vCPUs run while the host invalidates their mappings (tools/bench measures both).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "shared/address.hpp"
#include "vmm/measure/reuse_watch.hpp"
#include "vmm/settings/memory_policy.hpp"
#include "vmm/settings/memory_price.hpp"

namespace vmm {

// Of a transparent huge page.
inline constexpr abi::Order huge_order{9};

// What single events cost on this machine. Empty: could not be measured.
struct UnitCosts {
  std::optional<double> doorbell_ns;   // from the guest's instruction until it goes on
  std::optional<double> page_fault_ns; // the guest's first touch of 4 KiB
  // The same for each 4 KiB of a transparent huge page; empty with other backings.
  std::optional<double> huge_page_fault_ns;

  // For 4 KiB that a hint of this order took.
  [[nodiscard]] std::optional<double> fault_ns(abi::Order order) const;
};

struct LedgerInput {
  double saved_mib_s = 0;
  std::uint64_t doorbells = 0;
  std::uint64_t discard_ns = 0;
  OrderUses uses{};
  UnitCosts units;
  std::uint64_t memory_price_ns = default_memory_price_ns; // of 1 MiB for 1 s; not 0
};

struct Spending {
  double discard_ns = 0;
  double doorbell_ns = 0;
  double refault_ns = 0;
  [[nodiscard]] double sum_ns() const { return discard_ns + doorbell_ns + refault_ns; }
};

struct Ledger {
  struct Row {
    OrderUse use;
    std::optional<Spending> spent; // calls and doorbells by its share of the ranges
    std::optional<double> net_mib_s;
  };

  double saved_mib_s = 0;
  std::uint64_t reused_bytes = 0;
  UnitCosts units;
  std::uint64_t memory_price_ns = default_memory_price_ns;
  std::optional<Spending> spent; // empty: a unit that is needed is not known
  std::optional<double> net_mib_s;
  std::array<Row, abi::order_count> orders;

  static Ledger make(const LedgerInput& input);
};

} // namespace vmm
