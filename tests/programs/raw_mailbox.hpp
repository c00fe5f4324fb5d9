// SPDX-License-Identifier: MIT
// What hostile programs have in common that go past their kernel: they write calls into a mailbox
// themselves, and say what does not hold.
#pragma once

#include <sys/io.h>

#include <atomic>
#include <cstdint>
#include <cstdio>

#include "shared/call_mailbox.hpp"
#include "shared/hypercall.hpp"
#include "shared/layout.h"

namespace hostile {

inline constexpr std::uint64_t ram_bytes = std::uint64_t{64} << 20; // as the cases have it
inline constexpr std::uint64_t hole_gpa = 0xd0000000;

// What is told at the end: whether every answer was one that makes sense.
inline bool good = true;

inline void expect(bool holds, const char* what) {
  if (!holds) {
    std::printf("%s\n", what);
    good = false;
  }
}

inline std::uint64_t gpa_of(const void* object) {
  return reinterpret_cast<std::uint64_t>(object);
}

// In the page of the only vCPU.
template <typename Call> abi::CallMailbox<Call>& mailbox_at(std::uint64_t offset) {
  return *reinterpret_cast<abi::CallMailbox<Call>*>(EBB_VCPU_PAGE_GPA + offset);
}

inline void kick(abi::Hypercall number) {
  auto& page = *reinterpret_cast<abi::VcpuPage*>(EBB_VCPU_PAGE_GPA);
  page.number = static_cast<std::uint64_t>(number);
  outl(page.vcpu, EBB_PORT_HYPERCALL);
}

template <typename Call>
abi::CallResult ask_by(abi::CallMailbox<Call>& box, abi::Hypercall number, const Call& call) {
  box.call = call;
  const std::uint32_t asked = box.asked + 1;
  std::atomic_ref(box.asked).store(asked);
  while (std::atomic_ref(box.answered).load() != asked) {
    kick(number);
  }
  return box.result;
}

} // namespace hostile
