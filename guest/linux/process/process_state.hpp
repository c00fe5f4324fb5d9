// SPDX-License-Identifier: MIT
// What there is of a program while it runs: its memory, its files, its threads, what it has asked
// for. Whole once it is made: nothing refers to what comes later. What is done with it is in the
// classes on top, CallSupport, ProgramCalls and Process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/base/real_time.hpp"
#include "guest/linux/base/text.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/file_tree.hpp"
#include "guest/linux/files/frame_pool.hpp"
#include "guest/linux/files/host_contents.hpp"
#include "guest/linux/files/host_files.hpp"
#include "guest/linux/files/mapped_files.hpp"
#include "guest/linux/files/memory_files.hpp"
#include "guest/linux/files/open_files.hpp"
#include "guest/linux/files/random_bytes.hpp"
#include "guest/linux/files/synthetic_files.hpp"
#include "guest/linux/files/translated_files.hpp"
#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/memory/reclaiming_frames.hpp"
#include "guest/linux/process/call.hpp"
#include "guest/linux/process/credentials.hpp"
#include "guest/linux/process/program_code.hpp"
#include "guest/linux/process/program_loader.hpp"
#include "guest/linux/process/traits.hpp"
#include "guest/linux/process/user_memory.hpp"
#include "guest/linux/signals/signals.hpp"
#include "guest/linux/signals/timers.hpp"
#include "guest/linux/sites/site_patcher.hpp"
#include "guest/linux/sockets/network.hpp"
#include "guest/linux/sockets/translated_sockets.hpp"
#include "guest/linux/threads/futexes.hpp"
#include "guest/linux/threads/scheduler.hpp"
#include "shared/program_start.hpp"

namespace guest::linux {

// What a process is made of. All that is referred to outlives it.
struct ProcessParts {
  abi::ProgramStart& start;
  std::string_view strings; // as shared/program_start.hpp says
  Frames& frames;
  PageTables& tables;
  const AddressZones& zones;
  FilePort& files;
  SocketPort* sockets = nullptr; // null: there are no connections but the guest's own
  Machine& machine;
  Contexts& contexts;
  const SitePatcher::Enter& enter;
  std::span<const std::byte> vdso; // a page to be mapped, or nothing
};

class ProcessState : private RealTime, protected Idle {
 public:
  explicit ProcessState(const ProcessParts& parts);
  ProcessState(const ProcessState&) = delete;
  ProcessState& operator=(const ProcessState&) = delete;

 protected:
  ~ProcessState() = default;

  [[nodiscard]] Timers::Now now() const {
    const std::uint64_t elapsed_ns = machine_.now_ns();
    return {.elapsed_ns = elapsed_ns, .used_ns = elapsed_ns - slept_ns_};
  }
  [[nodiscard]] std::int64_t realtime_ns() override {
    return start_.realtime_ns + static_cast<std::int64_t>(machine_.now_ns());
  }
  // Of the thread that runs.
  [[nodiscard]] Signals& signals() const { return scheduler_.running().signals; }

  abi::ProgramStart& start_; // counts of calls go there
  Machine& machine_;

  // Memory.
  AreaList areas_;
  AreaViews views_;
  MappedFiles mapped_;
  FramePool cache_pages_;
  HostContents contents_; // of the host's files that are open for writing
  ReclaimingFrames frames_;
  AddressSpace memory_;
  UserMemory user_;
  TranslatedFiles files_;
  RandomBytes random_;
  ProgramCode code_;
  SitePatcher sites_;

  // Files.
  FramePool pages_;
  HostFiles host_to_read_;
  HostFiles host_to_change_;
  MemoryFiles temporary_; // /tmp
  MemoryFiles shared_;    // /dev/shm
  FileTree tree_;
  OpenFiles open_files_;
  std::uint64_t pipes_ = 0;                  // ever made
  std::optional<TranslatedSockets> sockets_; // nothing: no connections but the guest's own
  Network network_;
  Text directory_; // the working directory, as Place::path
  std::uint32_t umask_ = 022;

  // What runs, and as whom.
  Credentials credentials_;
  Traits traits_;
  ProgramLoader loader_;
  Command command_;
  Text executable_place_; // the file of it, as Place::path
  std::uint64_t break_start_ = 0;
  std::optional<ProgramEntry> follower_; // the program that an execve has loaded
  std::string_view missing_directory_;
  std::unique_ptr<SyntheticFiles> synthetic_; // /dev, /proc, /sys: they show most of this

  // Signals and time.
  SignalActions actions_;
  PendingSignals shared_pending_; // signals for whichever thread takes them
  Timers timers_;
  std::uint64_t slept_ns_ = 0;     // of the time since boot
  std::uint64_t caller_stack_ = 0; // RSP of the call at hand
  bool ends_in_order_ = false; // the outside was told that a signal is not to end the program there
  bool has_alarm_ = false;     // that the machine was told
  std::uint64_t tick_ns_ = Machine::never; // when the program is interrupted for other threads

  // Threads.
  Contexts& contexts_;
  Scheduler scheduler_;
  Futexes futexes_;
  std::int32_t last_thread_id_ = process_id; // ever given
  std::uint8_t status_ = 0;                  // of the first thread's end
};

} // namespace guest::linux
