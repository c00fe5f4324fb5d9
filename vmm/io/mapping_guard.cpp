// SPDX-License-Identifier: MIT
#include "vmm/io/mapping_guard.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string_view>

namespace vmm {
namespace {

constexpr std::uintptr_t page_bytes = 4096;

struct Guarded {
  std::atomic<bool> used{false};
  std::atomic<std::uintptr_t> start{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> torn{false};
};

// What a signal does is the process's, and a handler has nothing else to go by.
std::array<Guarded, MappingGuard::max_guards> guards;
std::atomic<bool> is_installed{false};

// Only what a handler may do, and what a sandboxed thread may.
void on_bus_error(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const int saved = errno;
  // Justified: the address is compared, and its page mapped, not read.
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (Guarded& guard : guards) {
    if (address < guard.start.load() || address >= guard.end.load()) {
      continue;
    }
    guard.torn.store(true);
    void* const page = reinterpret_cast<void*>(address & ~(page_bytes - 1));
    if (::mmap(page, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
               -1, 0) == page) {
      errno = saved;
      return;
    }
  }
  constexpr std::string_view text =
      "bus error: the host has no memory or no file behind a page that is in use\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  ::_exit(128 + SIGBUS);
}

} // namespace

void MappingGuard::install() {
  if (is_installed.exchange(true)) {
    return;
  }
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  static_cast<void>(::sigaction(SIGBUS, &action, nullptr)); // cannot fail
}

MappingGuard::MappingGuard(std::span<const std::byte> mapping) {
  for (std::size_t slot = 0; slot < guards.size(); ++slot) {
    if (!guards[slot].used.exchange(true)) {
      slot_ = slot;
      break;
    }
  }
  if (slot_ == max_guards) {
    return;
  }
  install();
  Guarded& guard = guards[slot_];
  guard.torn.store(false);
  const auto start = reinterpret_cast<std::uintptr_t>(mapping.data());
  guard.start.store(start);
  guard.end.store(start + mapping.size());
}

MappingGuard::~MappingGuard() {
  if (slot_ != max_guards) {
    guards[slot_].end.store(0);
    guards[slot_].start.store(0);
    guards[slot_].used.store(false);
  }
}

bool MappingGuard::torn() const {
  return slot_ != max_guards && guards[slot_].torn.load(std::memory_order_relaxed);
}

} // namespace vmm
