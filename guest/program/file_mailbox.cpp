// SPDX-License-Identifier: MIT
#include "guest/program/file_mailbox.hpp"

#include <atomic>
#include <cerrno>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/hypercall.hpp"
#include "shared/layout.h"

namespace guest {

namespace {

// What most calls of a host that watches take; longer ones are waited for in the host.
constexpr std::uint64_t patience_ns = 100'000;
constexpr unsigned looks_at_a_time = 64;

abi::FileMailbox& mailbox() {
  return *arch::pointer_to<abi::FileMailbox>(arch::address_of(&arch::vcpu_page()) +
                                             EBB_FILE_MAILBOX);
}

bool is_answered(abi::FileMailbox& box, std::uint32_t asked) {
  return std::atomic_ref(box.answered).load(std::memory_order_acquire) == asked;
}

} // namespace

abi::FileResult FileMailbox::perform(const abi::FileCall& call) {
  ++calls_;
  abi::FileMailbox& box = mailbox();
  box.call = call;
  const std::uint32_t asked = box.asked + 1;
  std::atomic_ref(box.asked).store(asked, std::memory_order_seq_cst);
  if (std::atomic_ref(box.host_watches).load(std::memory_order_seq_cst) != 0) {
    const std::uint64_t until = kernel_.now_ns() + patience_ns;
    do {
      for (unsigned look = 0; look < looks_at_a_time; ++look) {
        if (is_answered(box, asked)) {
          return box.result;
        }
        arch::pause();
      }
    } while (kernel_.now_ns() < until);
  }
  hypercall::file();
  return is_answered(box, asked) ? box.result : -EINTR;
}

} // namespace guest
