// SPDX-License-Identifier: MIT
// The thread that carries out file calls: only its sandbox lets files be opened. It finds the calls
// in the vCPUs' mailboxes (shared/file_call.hpp): for a while after each call it watches them, then
// it sleeps until a vCPU's hypercall wakes it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "shared/file_call.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/files/file_calls.hpp"

namespace vmm {

class FileService {
 public:
  // `memory` has the pages of so many vCPUs and outlives this.
  FileService(FileCalls calls, const GuestMemory& memory, unsigned vcpus);
  FileService(const FileService&) = delete;
  FileService& operator=(const FileService&) = delete;
  ~FileService() { stop(); }

  // Makes the thread; `on_start` is the first thing it does.
  [[nodiscard]] Result<void> start(ThreadStart on_start);
  // Ends it, and wakes whoever waits. The guest's end must have been told before, or a stream may
  // be waited for.
  void stop();

  // On any other thread: returns when what was asked for before has been answered, or after stop().
  void serve();

 private:
  struct Mailbox {
    abi::FileMailbox* shared = nullptr; // in guest memory
    std::uint32_t taken = 0;            // the `asked` that was carried out last
  };

  void run();
  void watch();
  // Carries out what is asked for; false: nothing is.
  [[nodiscard]] bool look(Mailbox& mailbox);
  [[nodiscard]] bool look_at_all();
  void tell_watching(std::uint32_t watches);
  [[nodiscard]] std::uint64_t kicks_now();
  void tell_looked(std::uint64_t kicks);

  FileCalls calls_; // of the thread's alone, as the mailboxes' `taken`
  std::vector<Mailbox> mailboxes_;
  std::mutex mutex_; // guards the following
  std::condition_variable changed_;
  std::uint64_t kicks_ = 0;
  std::uint64_t looked_ = 0; // kicks that came before the last look
  bool stopped_ = false;
  std::atomic<bool> stopping_{false};
  Thread thread_;
};

} // namespace vmm
