// SPDX-License-Identifier: MIT
// The mailboxes of one kind of call (shared/call_mailbox.hpp), one in each vCPU's page.
#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <vector>

#include "shared/address.hpp"
#include "shared/call_mailbox.hpp"
#include "shared/layout.h"
#include "vmm/calls/call_source.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

template <typename Call> class Mailboxes {
 public:
  using Shared = abi::CallMailbox<Call>;

  // `memory` has the pages of so many vCPUs and outlives this; the mailbox is at `offset` there.
  Mailboxes(const GuestMemory& memory, unsigned vcpus, std::uint64_t offset) {
    for (unsigned index = 0; index < vcpus; ++index) {
      const std::uint64_t page = EBB_VCPU_PAGE_GPA + std::uint64_t{index} * abi::page_bytes;
      auto* const shared = memory.object_at<Shared>({page + offset});
      assert(shared != nullptr); // RAM always holds the reserved area
      mailboxes_.push_back({.shared = shared});
    }
  }

  // Answers each call that is asked for with `perform`'s result. False: none is.
  template <typename Perform> [[nodiscard]] bool answer(Perform perform) {
    bool found = false;
    for (Mailbox& mailbox : mailboxes_) {
      found = answer_one(mailbox, perform) || found;
    }
    return found;
  }

  // A look that begins after `no` was told finds all that were asked in the belief that it was yes.
  void tell(Watching watching) {
    for (const Mailbox& mailbox : mailboxes_) {
      std::atomic_ref(mailbox.shared->host_watches)
          .store(static_cast<std::uint32_t>(watching), std::memory_order_seq_cst);
    }
  }

 private:
  struct Mailbox {
    Shared* shared = nullptr; // in guest memory
    std::uint32_t taken = 0;  // the `asked` that was carried out last
  };

  // The call is copied once, and the copy is what counts: the guest may write there meanwhile.
  template <typename Perform> static bool answer_one(Mailbox& mailbox, Perform& perform) {
    Shared& shared = *mailbox.shared;
    const std::uint32_t asked = std::atomic_ref(shared.asked).load(std::memory_order_acquire);
    if (asked == mailbox.taken) {
      return false;
    }
    Call call;
    std::memcpy(&call, &shared.call, sizeof call);
    mailbox.taken = asked;
    const abi::CallResult result = perform(call);
    std::atomic_ref(shared.result).store(result, std::memory_order_relaxed);
    std::atomic_ref(shared.answered).store(asked, std::memory_order_release);
    return true;
  }

  std::vector<Mailbox> mailboxes_;
};

} // namespace vmm
