// SPDX-License-Identifier: MIT
// Reads an address that is mapped nowhere: ends in a panic that names the address and the code.
#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"

namespace {
int run(guest::Env& env) {
  const auto* const nowhere =
      guest::arch::pointer_to<const volatile std::uint64_t>({env.arg_number("address", 8)});
  env.count_events(*nowhere);
  return 0;
}
} // namespace

EBB_WORKLOAD(test, "read from page 0", run,
             guest::Parameter::number("address", 0, ~std::uint64_t{0}));
