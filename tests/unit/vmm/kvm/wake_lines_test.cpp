// SPDX-License-Identifier: MIT
#include "vmm/kvm/wake_lines.hpp"

#include <sys/eventfd.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

// Two vCPUs' lines, whose eventfds the test reads in place of KVM.
struct Lines {
  Lines() {
    std::vector<UniqueFd> events;
    for (int& fd : fds) {
      events.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      fd = events.back().get();
      REQUIRE(fd >= 0);
    }
    lines.emplace(std::move(events));
  }
  // Since the last look.
  [[nodiscard]] std::uint64_t raised(unsigned vcpu) const {
    eventfd_t count = 0;
    return ::eventfd_read(fds[vcpu], &count) == 0 ? count : 0;
  }

  std::array<int, 2> fds{};
  std::optional<WakeLines> lines;
};

} // namespace

TEST_CASE("a guest that has not agreed to interrupts gets none") {
  const Lines guest;
  guest.lines->wake(0);
  guest.lines->wake_all();
  CHECK(guest.raised(0) == 0);
  CHECK(guest.raised(1) == 0);
}

TEST_CASE("a guest that has agreed is woken, each vCPU by its own line") {
  Lines guest;
  guest.lines->allow();
  guest.lines->wake(1);
  CHECK(guest.raised(0) == 0);
  CHECK(guest.raised(1) == 1);
  guest.lines->wake(2); // no such vCPU
  guest.lines->wake_all();
  CHECK(guest.raised(0) == 1);
  CHECK(guest.raised(1) == 1);
}
