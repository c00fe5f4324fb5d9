// SPDX-License-Identifier: MIT
// Ends with --arg status=: what a process cannot have must not become success.
#include "guest/workload.hpp"

namespace {

int run(guest::Env& env) {
  return static_cast<int>(env.arg_number("status", 0));
}

} // namespace

EBB_WORKLOAD(test, "end with status=N", run,
             guest::Parameter::number("status", 0, ~std::uint64_t{0}));
