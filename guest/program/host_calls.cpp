// SPDX-License-Identifier: MIT
#include "guest/program/host_calls.hpp"

#include <atomic>
#include <cerrno>
#include <new>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/hypercall.hpp"
#include "shared/abi_version.hpp"
#include "shared/address.hpp"
#include "shared/layout.h"

namespace guest {

namespace {

// What most calls of a host that watches take; longer ones are waited for in the host.
constexpr std::uint64_t patience_ns = 100'000;
constexpr unsigned looks_at_a_time = 64;

template <typename Mailbox> Mailbox& mailbox_at(std::uint64_t offset) {
  return *arch::pointer_to<Mailbox>(arch::address_of(&arch::vcpu_page()) + offset);
}

template <typename Call> bool is_answered(abi::CallMailbox<Call>& box, std::uint32_t asked) {
  return std::atomic_ref(box.answered).load(std::memory_order_acquire) == asked;
}

// `kick` wakes the host, and returns once it has answered.
template <typename Call>
abi::CallResult ask(Kernel& kernel, abi::CallMailbox<Call>& box, const Call& call, void (*kick)()) {
  box.call = call;
  const std::uint32_t asked = box.asked + 1;
  std::atomic_ref(box.asked).store(asked, std::memory_order_seq_cst);
  if (std::atomic_ref(box.host_watches).load(std::memory_order_seq_cst) != 0) {
    const std::uint64_t until = kernel.now_ns() + patience_ns;
    do {
      for (unsigned look = 0; look < looks_at_a_time; ++look) {
        if (is_answered(box, asked)) {
          return box.result;
        }
        arch::pause();
      }
    } while (kernel.now_ns() < until);
  }
  kick();
  return is_answered(box, asked) ? box.result : -EINTR;
}

} // namespace

abi::FileResult FileMailbox::perform(const abi::FileCall& call) {
  ++calls_;
  return ask(kernel_, mailbox_at<abi::FileMailbox>(EBB_FILE_MAILBOX), call, hypercall::file);
}

// ---- sockets -----------------------------------------------------------------------------------

abi::SocketBoard& SocketMailbox::board() const {
  const std::uint64_t start = abi::align_up(arch::address_of(room_).value, board_alignment);
  return *arch::pointer_to<abi::SocketBoard>({start});
}

bool SocketMailbox::start() {
  abi::SocketBoard& place = *new (&board()) abi::SocketBoard;
  return (kernel_.boot().features_offered & abi::feature_sockets) != 0 &&
         perform({.operation = abi::SocketOperation::start,
                  .buffer_gpa = arch::address_of(&place).value,
                  .buffer_bytes = sizeof place}) == 0;
}

abi::CallResult SocketMailbox::perform(const abi::SocketCall& call) {
  ++calls_;
  return ask(kernel_, mailbox_at<abi::SocketMailbox>(EBB_SOCKET_MAILBOX), call, hypercall::socket);
}

abi::SocketState SocketMailbox::state(std::uint32_t socket) const {
  abi::SocketState& is = board().states[socket];
  return {.ready = std::atomic_ref(is.ready).load(std::memory_order_acquire),
          .changes = std::atomic_ref(is.changes).load(std::memory_order_relaxed)};
}

// What changed before the host sees that it is waited for is seen here; what changes later, there.
void SocketMailbox::watch(std::uint32_t socket, std::uint32_t ready) {
  std::atomic_ref(board().waits).store(1, std::memory_order_seq_cst);
  if ((std::atomic_ref(board().states[socket].ready).load(std::memory_order_seq_cst) & ready) !=
      0) {
    std::atomic_ref(arch::vcpu_page_of(0).streams_ready)
        .fetch_or(std::uint64_t{1} << abi::socket_stream, std::memory_order_relaxed);
  }
}

} // namespace guest
