// SPDX-License-Identifier: MIT
#include "vmm/measure/ledger.hpp"

namespace vmm {
namespace {

double pages(std::uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(abi::page_bytes);
}

// A unit that was needed not once costs nothing, known or not.
std::optional<double> cost(double count, std::optional<double> unit_ns) {
  if (count == 0) {
    return 0;
  }
  return unit_ns ? std::optional(count * *unit_ns) : std::nullopt;
}

std::optional<Spending> spending(double discard_ns, std::optional<double> doorbell_ns,
                                 std::optional<double> refault_ns) {
  if (!doorbell_ns || !refault_ns) {
    return std::nullopt;
  }
  return Spending{discard_ns, *doorbell_ns, *refault_ns};
}

std::optional<double> net(double saved_mib_s, const std::optional<Spending>& spent,
                          std::uint64_t price_ns) {
  return spent ? std::optional(saved_mib_s - spent->sum_ns() / static_cast<double>(price_ns))
               : std::nullopt;
}

} // namespace

std::optional<double> UnitCosts::fault_ns(abi::Order order) const {
  return order >= huge_order && huge_page_fault_ns ? huge_page_fault_ns : page_fault_ns;
}

Ledger Ledger::make(const LedgerInput& input) {
  Ledger ledger;
  ledger.saved_mib_s = input.saved_mib_s;
  ledger.units = input.units;
  ledger.memory_price_ns = input.memory_price_ns;
  const auto doorbell_ns = cost(static_cast<double>(input.doorbells), input.units.doorbell_ns);
  const auto discard_ns = static_cast<double>(input.discard_ns);
  std::optional<double> refault_ns = 0;
  double ranges = 0;
  for (const OrderUse& use : input.uses) {
    ranges += static_cast<double>(use.ranges);
  }
  for (std::uint8_t order = 0; order < abi::order_count; ++order) {
    Row& row = ledger.orders[order];
    row.use = input.uses[order];
    const double share = ranges == 0 ? 0 : static_cast<double>(row.use.ranges) / ranges;
    const auto row_refault_ns =
        cost(pages(row.use.reused_bytes), input.units.fault_ns(abi::Order{order}));
    row.spent =
        spending(discard_ns * share,
                 doorbell_ns ? std::optional(*doorbell_ns * share) : std::nullopt, row_refault_ns);
    row.net_mib_s = net(row.use.away_mib_s, row.spent, input.memory_price_ns);
    ledger.reused_bytes += row.use.reused_bytes;
    refault_ns =
        refault_ns && row_refault_ns ? std::optional(*refault_ns + *row_refault_ns) : std::nullopt;
  }
  ledger.spent = spending(discard_ns, doorbell_ns, refault_ns);
  ledger.net_mib_s = net(input.saved_mib_s, ledger.spent, input.memory_price_ns);
  return ledger;
}

} // namespace vmm
