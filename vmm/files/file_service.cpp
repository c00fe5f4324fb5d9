// SPDX-License-Identifier: MIT
#include "vmm/files/file_service.hpp"

#include <sched.h>
#include <sys/stat.h>

#include <utility>

#include "shared/layout.h"

namespace vmm {

Result<std::unique_ptr<FileService>> FileService::create(FileCalls calls, const GuestMemory& memory,
                                                         unsigned vcpus) {
  std::unique_ptr<FileService> service(new FileService(std::move(calls), memory, vcpus));
  EBB_TRY_ASSIGN(thread, CallThread::create(*service));
  service->thread_ = std::move(thread);
  return service;
}

FileService::FileService(FileCalls calls, const GuestMemory& memory, unsigned vcpus)
    : calls_(std::move(calls)), mailboxes_(memory, vcpus, EBB_FILE_MAILBOX) {}

Result<void> FileService::start(ThreadStart on_start) {
  // Rights of what is made are the guest's to take away, before it asks.
  return thread_->start("the files", [on_start = std::move(on_start)] {
    if (::unshare(CLONE_FS) == 0) {
      ::umask(0);
    }
    on_start();
  });
}

bool FileService::answer() {
  return mailboxes_.answer([this](const abi::FileCall& call) { return calls_.perform(call); });
}

} // namespace vmm
