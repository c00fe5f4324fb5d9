// SPDX-License-Identifier: MIT
#include "vmm/program_signals.hpp"

#include <csignal>

#include <doctest/doctest.h>

namespace {

constexpr std::uint64_t bit_of(int signal) {
  return std::uint64_t{1} << (signal - 1);
}

struct Fixture {
  abi::VcpuPage page;
  int wakes = 0;
  vmm::ProgramSignals signals{page, [this] { ++wakes; }};
};

} // namespace

TEST_CASE("a signal that the program does not handle is not passed") {
  Fixture f;
  f.page.signals_handled = ~bit_of(SIGINT);
  CHECK_FALSE(f.signals.pass(SIGINT, 1));
  CHECK(f.page.signals_sent == 0);
  CHECK(f.wakes == 0);
}

TEST_CASE("one that it handles reaches it, whatever its number, and wakes it") {
  for (const int signal : {1, 2, 15, 32, 63, 64}) {
    Fixture f;
    f.page.signals_handled = bit_of(signal);
    CHECK(f.signals.pass(signal, 1));
    CHECK(f.page.signals_sent == bit_of(signal));
    CHECK(f.wakes == 1);
  }
}

TEST_CASE("one that is not taken is the same one for a second, and then ends the run") {
  Fixture f;
  f.page.signals_handled = ~std::uint64_t{0};
  constexpr std::uint64_t start = 5'000'000'000;
  constexpr std::uint64_t second = vmm::ProgramSignals::patience_ns;
  CHECK(f.signals.pass(SIGINT, start));
  CHECK(f.signals.pass(SIGINT, start + second - 1));
  CHECK(f.wakes == 2);
  CHECK_FALSE(f.signals.pass(SIGINT, start + second));
  CHECK(f.signals.pass(SIGTERM, start + second)); // another one
  SUBCASE("unless it is taken meanwhile") {
    f.page.signals_sent = 0;
    CHECK(f.signals.pass(SIGINT, start + 2 * second));
    CHECK(f.signals.pass(SIGINT, start + 3 * second - 1));
    CHECK_FALSE(f.signals.pass(SIGINT, start + 3 * second));
  }
}
