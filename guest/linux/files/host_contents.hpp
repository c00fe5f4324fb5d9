// SPDX-License-Identifier: MIT
// All files of the host's that the program has open for writing, and how much of them lies in the
// guest, for how long. Pure but for FilePort.
//
// What waits to be written is bounded in bytes and time, and all of it is written before the
// program waits for anything. Pages that wait for nothing go back to the page allocator, and so to
// the host, after a while without use, when they are more than a part of what is free, when the
// program wants memory, and with the last open file.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/files/host_content.hpp"
#include "guest/linux/memory/frames.hpp"

namespace guest::linux {

class HostContents final : public FrameReserve {
 public:
  // What may wait, all files together, and how long: to be seen to with the program's calls.
  static constexpr std::uint64_t most_dirty_bytes = std::uint64_t{16} << 20;
  static constexpr std::uint64_t dirty_time_ns = 5'000'000'000;
  // How long pages stay without being used, and the part of free memory that they may take.
  static constexpr std::uint64_t unused_time_ns = 2'000'000'000;
  static constexpr std::uint64_t share_of_free = 4;
  // With less space on the host's disk nothing waits, so that who writes is told when it is full.
  static constexpr std::uint64_t least_space_bytes = 4 * most_dirty_bytes;

  // All outlive this.
  HostContents(PagePool& pool, Machine& machine, PageViews& views)
      : pool_(pool), machine_(machine), views_(views) {}

  // A regular file has been opened for writing; the host says `is` of it.
  [[nodiscard]] HostContent& enter(const HostHandle& file, const abi::FileStat& is);
  // That file is about to be closed: what waits is written, and forgotten with the last.
  void leave(HostContent& content, const HostHandle& file);
  // Null: nobody has it open for writing.
  [[nodiscard]] HostContent* find(const abi::FileStat& is) const;
  [[nodiscard]] bool is_empty() const { return contents_.empty(); }
  [[nodiscard]] bool is_dirty() const { return use_.dirty_pages != 0; }

  // Whether a write may wait.
  [[nodiscard]] HostContent::When when_to_write(const HostContent& content, const HostHandle& file);
  // Hands everything that waits to the host.
  void write_out();
  // With every call of the program: sees to the bounds.
  void tend();
  // The program is going to wait until then: it leaves nothing unwritten, and little unused.
  void rest_until(std::uint64_t deadline_ns);
  // Gives back what waits for nothing; false: there is nothing.
  [[nodiscard]] bool give_back() override;

 private:
  void drop_unused(std::uint64_t since_ns);
  void drop_least_used(std::uint64_t pages);

  PagePool& pool_;
  Machine& machine_;
  PageViews& views_;
  CacheUse use_;
  std::vector<std::unique_ptr<HostContent>> contents_;
  std::uint64_t dirty_since_ns_ = 0; // 0: nothing waits
  std::uint64_t next_look_ns_ = 0;   // for what is unused
  // What the host's disk last had.
  struct Space {
    std::uint64_t device = 0;
    std::uint64_t bytes = 0;
    std::uint64_t until_ns = 0;
  };
  Space space_;
};

} // namespace guest::linux
