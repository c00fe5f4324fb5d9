// SPDX-License-Identifier: MIT
// The thread that carries out socket calls (shared/socket_call.hpp): only its sandbox lets sockets
// be used. It also looks at what they become ready for.
#pragma once

#include <functional>
#include <memory>

#include "shared/hypercall.hpp"
#include "shared/socket_call.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/calls/call_source.hpp"
#include "vmm/calls/call_thread.hpp"
#include "vmm/calls/mailboxes.hpp"
#include "vmm/sockets/socket_calls.hpp"

namespace vmm {

class SocketService final : private CallSource {
 public:
  // `memory` has the pages of so many vCPUs and outlives this, as `page`, which is vCPU 0's there;
  // `wake` interrupts that vCPU.
  static Result<std::unique_ptr<SocketService>> create(AllowedNetwork network,
                                                       const GuestMemory& memory, unsigned vcpus,
                                                       abi::VcpuPage& page,
                                                       std::function<void()> wake);

  // Makes the thread; `on_start` is the first thing it does.
  [[nodiscard]] Result<void> start(ThreadStart on_start) {
    return thread_->start("the sockets", std::move(on_start));
  }
  // Ends it, and wakes whoever waits.
  void stop() { thread_->stop(); }

  // On any other thread: returns when what was asked for before has been answered, or after stop().
  void serve() { thread_->serve(); }

 private:
  SocketService(SocketCalls calls, const GuestMemory& memory, unsigned vcpus);

  [[nodiscard]] bool answer() override;
  void tell(Watching watching) override { mailboxes_.tell(watching); }
  [[nodiscard]] int events_fd() const override { return calls_.events_fd(); }
  [[nodiscard]] bool take_events() override { return calls_.take_events(); }

  SocketCalls calls_; // of the thread's alone, as the mailboxes
  Mailboxes<abi::SocketCall> mailboxes_;
  std::unique_ptr<CallThread> thread_; // last: it uses the others
};

} // namespace vmm
