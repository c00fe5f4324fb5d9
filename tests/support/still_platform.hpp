// SPDX-License-Identifier: MIT
// A machine on which nothing happens and time stands still, for tests to build on.
#pragma once

#include <cstdint>

#include "guest/mm/page_platform.hpp"

namespace test_support {

class StillPlatform : public guest::mm::PagePlatform {
 public:
  void ring_doorbell(unsigned) override {}
  std::uint64_t now_ns() override { return 1; }
  bool plug(abi::Gpa) override { return false; }
  void prefault(abi::Gpa, std::uint64_t) override {}
  void relax() override {}
  void nap(std::uint64_t) override {}
  void count_spinning(std::uint64_t) override {}
  void sleep_until(unsigned, std::uint64_t) override {}
  void wake(unsigned) override {}
};

} // namespace test_support
