// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_service.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

#include "shared/layout.h"

namespace vmm {

Result<std::unique_ptr<SocketService>> SocketService::create(AllowedNetwork network,
                                                             const GuestMemory& memory,
                                                             unsigned vcpus, abi::VcpuPage& page,
                                                             std::function<void()> wake) {
  auto interrupt = [&page, wake = std::move(wake)] {
    std::atomic_ref(page.streams_ready)
        .fetch_or(std::uint64_t{1} << abi::socket_stream, std::memory_order_release);
    wake();
  };
  EBB_TRY_ASSIGN(calls, SocketCalls::create(std::move(network), memory, std::move(interrupt)));
  std::unique_ptr<SocketService> service(new SocketService(std::move(calls), memory, vcpus));
  EBB_TRY_ASSIGN(thread, CallThread::create(*service));
  service->thread_ = std::move(thread);
  return service;
}

SocketService::SocketService(SocketCalls calls, const GuestMemory& memory, unsigned vcpus)
    : calls_(std::move(calls)), mailboxes_(memory, vcpus, EBB_SOCKET_MAILBOX) {}

bool SocketService::answer() {
  return mailboxes_.answer([this](const abi::SocketCall& call) { return calls_.perform(call); });
}

} // namespace vmm
