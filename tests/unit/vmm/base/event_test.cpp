// SPDX-License-Identifier: MIT
#include "vmm/base/event.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <cstdint>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

bool is_set(const Event& event) {
  pollfd entry{event.fd(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

} // namespace

TEST_CASE("an event is set until it is cleared, however often it was set") {
  const auto event = Event::create("a test");
  REQUIRE(event);
  CHECK_FALSE(is_set(*event));
  event->clear(); // of nothing
  event->set();
  event->set();
  CHECK(is_set(*event));
  CHECK(is_set(*event));
  event->clear();
  CHECK_FALSE(is_set(*event));
}

TEST_CASE("setting an event whose counter is full does not wait, and it stays set") {
  const auto event = Event::create("a test");
  REQUIRE(event);
  REQUIRE(::eventfd_write(event->fd(), ~std::uint64_t{0} - 1) == 0);
  event->set();
  CHECK(is_set(*event));
}
