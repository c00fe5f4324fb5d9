// SPDX-License-Identifier: MIT
// What hostile programs have in common that go past their kernel: they write calls into a mailbox
// themselves, and say what does not hold.
#pragma once

#include <link.h>
#include <sys/io.h>
#include <sys/mman.h>

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

// Somewhere in RAM where the guest keeps nothing (guest/kernel/program_window.hpp), or behind it.
inline std::uint64_t wild_gpa(std::uint64_t number) {
  constexpr std::uint64_t mib = std::uint64_t{1} << 20;
  constexpr std::uint64_t window_start_mib = 4;
  constexpr std::uint64_t window_mib = 8;
  return number % 2 == 0 ? (window_start_mib + number % window_mib) * mib
                         : ram_bytes + number * mib;
}

inline std::uint64_t gpa_of(const void* object) {
  return reinterpret_cast<std::uint64_t>(object);
}

// An object of zeroes where the host sees it at the same address: a small mapping has RAM at its
// own.
template <typename T> T& in_ram() {
  void* const room =
      mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  expect(gpa_of(room) < ram_bytes, "a small mapping is not in RAM");
  return *static_cast<T*>(room);
}

// Has the program's own pages loaded: who closes files that are its kernel's gets none later.
inline void load_all() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void*) {
        for (int index = 0; index < info->dlpi_phnum; ++index) {
          const auto& header = info->dlpi_phdr[index];
          for (std::uint64_t at = 0; header.p_type == PT_LOAD && at < header.p_memsz; at += 4096) {
            static_cast<void>(
                *reinterpret_cast<volatile const char*>(info->dlpi_addr + header.p_vaddr + at));
          }
        }
        return 0;
      },
      nullptr);
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
