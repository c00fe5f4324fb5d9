// SPDX-License-Identifier: MIT
// What there is of programs while they run: memory, files, processes (process.hpp) and their
// threads. Whole once it is made: nothing refers to what comes later. What is done with it is in
// the classes on top, CallSupport, ProgramCalls and System.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

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
#include "guest/linux/files/random_bytes.hpp"
#include "guest/linux/files/synthetic_files.hpp"
#include "guest/linux/files/translated_files.hpp"
#include "guest/linux/memory/address_space.hpp"
#include "guest/linux/memory/reclaiming_frames.hpp"
#include "guest/linux/process/call.hpp"
#include "guest/linux/process/process.hpp"
#include "guest/linux/process/process_memory.hpp"
#include "guest/linux/process/program_loader.hpp"
#include "guest/linux/process/user_memory.hpp"
#include "guest/linux/signals/signals.hpp"
#include "guest/linux/sites/site_patcher.hpp"
#include "guest/linux/sockets/network.hpp"
#include "guest/linux/sockets/translated_sockets.hpp"
#include "guest/linux/threads/futexes.hpp"
#include "guest/linux/threads/scheduler.hpp"
#include "shared/program_start.hpp"

namespace guest::linux {

// What it is made of. All that is referred to outlives it.
struct SystemParts {
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

class SystemState : private RealTime, private ShownProcess, protected ThreadOwner {
 public:
  explicit SystemState(const SystemParts& parts);
  SystemState(const SystemState&) = delete;
  SystemState& operator=(const SystemState&) = delete;

 protected:
  ~SystemState() = default;

  [[nodiscard]] std::int64_t realtime_ns() override {
    return start_.realtime_ns + static_cast<std::int64_t>(machine_.now_ns());
  }
  [[nodiscard]] Process& first() const { return *processes_.front(); }
  // Whose thread runs; and whether that is the one for whose sake the guest is there.
  [[nodiscard]] Process& self() const { return *scheduler_.running().process; }
  [[nodiscard]] bool is_first(const Process& process) const {
    return &process == processes_.front().get();
  }
  // Of the thread that runs.
  [[nodiscard]] Signals& signals() const { return scheduler_.running().signals; }

  [[nodiscard]] std::shared_ptr<ProcessMemory> make_memory() {
    return std::make_unique<ProcessMemory>(memory_, enter_, ++last_memory_);
  }

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

  // Files.
  FramePool pages_;
  HostFiles host_to_read_;
  HostFiles host_to_change_;
  MemoryFiles temporary_; // /tmp
  MemoryFiles shared_;    // /dev/shm
  FileTree tree_;
  std::uint64_t pipes_ = 0;                  // ever made
  std::optional<TranslatedSockets> sockets_; // nothing: no connections but the guest's own
  Network network_;

  // Processes. The first is the guest's purpose: when it ends, all do.
  const SitePatcher::Enter enter_;
  ProgramLoader loader_;
  std::uint32_t last_memory_ = 0;                   // number of a process's, ever given
  std::uint64_t break_start_ = 0;                   // of the first process
  std::vector<std::unique_ptr<Process>> processes_; // in the order in which they were made
  std::int32_t foreground_ = process_id;            // the group that the terminal's signals are for
  std::string_view missing_directory_;

  std::uint64_t last_change_ns_ = 0; // how long the last change of content has taken (fork)

  // Time.
  std::uint64_t caller_stack_ = 0; // RSP of the call at hand
  bool ends_in_order_ = false; // the outside was told that a signal is not to end the program there
  // Of each vCPU.
  struct Alarm {
    bool is_set = false;                    // that the machine was told
    std::uint64_t tick_ns = Machine::never; // when the program is interrupted for other threads
  };
  std::vector<Alarm> alarms_;

  // Threads.
  Contexts& contexts_;
  Scheduler scheduler_;
  Futexes futexes_;
  std::int32_t last_thread_id_ = process_id; // ever given, to processes, too
  SyntheticFiles synthetic_;                 // /dev, /proc, /sys: they show most of this

 private:
  [[nodiscard]] Numbers numbers() const override;
  [[nodiscard]] const Text& program() const override { return self().executable; }
  [[nodiscard]] const Text& arguments() const override { return self().command.arguments; }
  [[nodiscard]] const Text& environment() const override { return self().command.environment; }
  [[nodiscard]] const Text& directory() const override { return self().directory; }
  [[nodiscard]] const OpenFiles& files() const override { return self().files; }
};

} // namespace guest::linux
