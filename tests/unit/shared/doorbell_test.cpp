// SPDX-License-Identifier: MIT
#include "shared/doorbell.hpp"

#include <cstdint>

#include <doctest/doctest.h>

using abi::DoorbellCall;

TEST_CASE("doorbell call: every channel comes back from its arguments") {
  for (std::uint32_t channel = 0; channel < EBB_MAX_VCPUS; ++channel) {
    const auto call = DoorbellCall::make(channel, UINT32_MAX);
    CHECK(call.channel() == channel);
    // What KVM checks before it hands the call out.
    CHECK(call.gpa % abi::page_bytes == 0);
    CHECK(call.pages != 0);
  }
}

TEST_CASE("doorbell call: anything else is no doorbell") {
  const DoorbellCall good = DoorbellCall::make(1, 7);
  const auto with = [&](auto change) {
    DoorbellCall call = good;
    change(call);
    return call.channel();
  };
  REQUIRE(good.channel() == 1U);
  CHECK_FALSE(with([](DoorbellCall& call) { call.gpa += abi::page_bytes; }));
  CHECK_FALSE(with([](DoorbellCall& call) { call.gpa = 0; }));
  CHECK_FALSE(with([](DoorbellCall& call) { call.gpa = EBB_CHANNEL_GPA - EBB_CHANNEL_BYTES; }));
  CHECK_FALSE(with([](DoorbellCall& call) {
    call.gpa = EBB_CHANNEL_GPA + std::uint64_t{EBB_MAX_VCPUS} * EBB_CHANNEL_BYTES;
  }));
  CHECK_FALSE(with([](DoorbellCall& call) { call.gpa = UINT64_MAX; }));
  CHECK_FALSE(with([](DoorbellCall& call) { call.pages = 0; }));
  CHECK_FALSE(with([](DoorbellCall& call) { call.pages += 1; }));
  CHECK_FALSE(with([](DoorbellCall& call) { call.attributes = std::uint64_t{1} << 32; }));
}
