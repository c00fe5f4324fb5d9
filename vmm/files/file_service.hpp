// SPDX-License-Identifier: MIT
// The thread that carries out file calls (shared/file_call.hpp): only its sandbox lets files be
// opened.
#pragma once

#include <memory>

#include "shared/file_call.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/calls/call_source.hpp"
#include "vmm/calls/call_thread.hpp"
#include "vmm/calls/mailboxes.hpp"
#include "vmm/files/file_calls.hpp"

namespace vmm {

class FileService final : private CallSource {
 public:
  // `memory` has the pages of so many vCPUs and outlives this.
  static Result<std::unique_ptr<FileService>> create(FileCalls calls, const GuestMemory& memory,
                                                     unsigned vcpus);

  // Makes the thread; `on_start` is the first thing it does.
  [[nodiscard]] Result<void> start(ThreadStart on_start);
  // Ends it, and wakes whoever waits. The guest's end must have been told before, or a stream may
  // be waited for.
  void stop() { thread_->stop(); }

  // On any other thread: returns when what was asked for before has been answered, or after stop().
  void serve() { thread_->serve(); }

 private:
  FileService(FileCalls calls, const GuestMemory& memory, unsigned vcpus);

  [[nodiscard]] bool answer() override;
  void tell(Watching watching) override { mailboxes_.tell(watching); }

  FileCalls calls_; // of the thread's alone, as the mailboxes
  Mailboxes<abi::FileCall> mailboxes_;
  std::unique_ptr<CallThread> thread_; // last: it uses the others
};

} // namespace vmm
