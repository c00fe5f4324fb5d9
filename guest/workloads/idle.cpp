// SPDX-License-Identifier: MIT
// idle: do nothing for a while. Shows what a guest costs before it does anything.
#include "guest/workload.hpp"

namespace guest {
namespace {

int run_idle(Env& env) {
  const std::uint64_t milliseconds = env.arg_number("ms", 1000);
  env.sleep_until_ns(env.now_ns() + milliseconds * 1'000'000);
  return 0;
}

} // namespace

EBB_WORKLOAD(idle, "sleep for ms=N (1000)", run_idle, Parameter::number("ms", 0, longest_ms));

} // namespace guest
