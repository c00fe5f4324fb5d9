// SPDX-License-Identifier: MIT
#include "vmm/files/file_service.hpp"

#include <sched.h>
#include <sys/stat.h>

#include <cstring>

#include "shared/layout.h"
#include "vmm/base/clock.hpp"

namespace vmm {
namespace {

// A program's next call comes within that time, or it computes: waking a thread that sleeps takes
// as long.
constexpr std::uint64_t watch_ns = 50'000;
// Looks at the mailboxes between two looks at the clock.
constexpr unsigned looks_at_a_time = 64;

} // namespace

FileService::FileService(FileCalls calls, const GuestMemory& memory, unsigned vcpus)
    : calls_(std::move(calls)) {
  for (unsigned index = 0; index < vcpus; ++index) {
    const std::uint64_t page = EBB_VCPU_PAGE_GPA + std::uint64_t{index} * abi::page_bytes;
    mailboxes_.push_back({.shared = memory.object_at<abi::FileMailbox>({page + EBB_FILE_MAILBOX})});
  }
}

Result<void> FileService::start(ThreadStart on_start) {
  // Rights of what is made are the guest's to take away, before it asks.
  const auto first = [on_start = std::move(on_start)] {
    if (::unshare(CLONE_FS) == 0) {
      ::umask(0);
    }
    on_start();
  };
  EBB_TRY_ASSIGN(thread, Thread::make("the files", first, [this] { run(); }));
  thread_ = std::move(thread);
  return {};
}

void FileService::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

// The call is copied once, and the copy is what counts: the guest may write there meanwhile.
bool FileService::look(Mailbox& mailbox) {
  abi::FileMailbox& shared = *mailbox.shared;
  const std::uint32_t asked = std::atomic_ref(shared.asked).load(std::memory_order_acquire);
  if (asked == mailbox.taken) {
    return false;
  }
  abi::FileCall call;
  std::memcpy(&call, &shared.call, sizeof call);
  mailbox.taken = asked;
  std::atomic_ref(shared.result).store(calls_.perform(call), std::memory_order_relaxed);
  std::atomic_ref(shared.answered).store(asked, std::memory_order_release);
  return true;
}

bool FileService::look_at_all() {
  bool found = false;
  for (Mailbox& mailbox : mailboxes_) {
    found = look(mailbox) || found;
  }
  return found;
}

void FileService::tell_watching(std::uint32_t watches) {
  for (const Mailbox& mailbox : mailboxes_) {
    std::atomic_ref(mailbox.shared->host_watches).store(watches, std::memory_order_seq_cst);
  }
}

// Whoever kicks has asked before: a look that begins later finds it.
void FileService::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopped_ || kicks_ != looked_; });
      if (stopped_) {
        return;
      }
    }
    tell_watching(1);
    watch();
    tell_watching(0);
    // Who asked and saw that it was watched has been seen now; who comes later kicks.
    static_cast<void>(look_at_all());
  }
}

void FileService::watch() {
  std::uint64_t last_ns = monotonic_ns();
  std::uint64_t now_ns = last_ns;
  while (!stopping_.load(std::memory_order_relaxed) && now_ns - last_ns <= watch_ns) {
    const std::uint64_t kicks = kicks_now();
    bool found = false;
    for (unsigned looks = 0; looks < looks_at_a_time && !found; ++looks) {
      found = look_at_all();
    }
    tell_looked(kicks);
    now_ns = monotonic_ns();
    last_ns = found ? now_ns : last_ns;
  }
}

std::uint64_t FileService::kicks_now() {
  const std::scoped_lock lock(mutex_);
  return kicks_;
}

void FileService::tell_looked(std::uint64_t kicks) {
  const std::scoped_lock lock(mutex_);
  if (looked_ != kicks) {
    looked_ = kicks;
    changed_.notify_all();
  }
}

void FileService::serve() {
  std::unique_lock lock(mutex_);
  const std::uint64_t kick = ++kicks_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return stopped_ || looked_ >= kick; });
}

} // namespace vmm
