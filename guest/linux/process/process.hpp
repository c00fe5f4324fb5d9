// SPDX-License-Identifier: MIT
// A process as Linux has it: what is its own, beside its threads (which the scheduler has), and
// what becomes of it. What all of them share is in SystemState.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "guest/linux/base/text.hpp"
#include "guest/linux/files/open_files.hpp"
#include "guest/linux/process/credentials.hpp"
#include "guest/linux/process/limits.hpp"
#include "guest/linux/process/process_memory.hpp"
#include "guest/linux/process/program_loader.hpp"
#include "guest/linux/process/traits.hpp"
#include "guest/linux/signals/signals.hpp"
#include "guest/linux/signals/timers.hpp"
#include "guest/linux/threads/thread.hpp"

namespace guest::linux {

struct Process {
  Process(std::int32_t number, std::shared_ptr<ProcessMemory> own, const Credentials& whose)
      : id(number), memory(std::move(own)), credentials(whose) {}
  // As vfork makes it: in its parent's memory, with the same files open, and all else that it keeps
  // as it is there; signals wait for the parent alone, and its timers are not the child's.
  Process(std::int32_t number, const Process& maker);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Whom it belongs to. Numbers of groups and sessions are those of who began them.
  const std::int32_t id;
  std::int32_t parent = 0;
  std::int32_t group = 0;
  std::int32_t session = 0;
  bool has_executed = false; // its parent cannot choose its group any more (setpgid)

  // Memory and files.
  std::shared_ptr<ProcessMemory> memory;
  OpenFiles files;
  Limits limits;
  Text directory; // the working directory, as FileTree::Place::path
  std::uint32_t umask = 022;

  // What runs, and as whom.
  Credentials credentials;
  Traits traits;
  Command command;
  Text executable;                      // the file of it, as FileTree::Place::path
  std::optional<ProgramEntry> follower; // the program that an execve has loaded

  // Signals and time.
  SignalActions actions;
  PendingSignals pending; // signals for whichever thread takes them
  Timers timers;
  std::uint64_t used_by_ended_ns = 0;    // of the processor, by threads that have ended
  std::uint64_t used_by_children_ns = 0; // that were waited for

  // Job control.
  bool is_stopped = false;
  std::optional<int> change; // that it has stopped or gone on, as wait(2) has it, untold yet

  // Its end.
  std::uint8_t status = 0;        // of its first thread
  std::uint64_t end_signal = 0;   // what its parent gets then; 0: none
  std::optional<int> wait_status; // what its parent is told (wait(2)); nothing: it has not ended
  bool is_waited_for = false;     // its parent has been told, or nobody wants to know
  // Another has ended it: its threads end as they find out, and this is its wait status.
  std::optional<int> killed_status;
  // The thread that has made it by vfork, and waits until it has memory of its own, or has ended.
  Thread* made_by = nullptr;
  Thread* ender = nullptr; // the thread that waits for the others' end
};

} // namespace guest::linux
