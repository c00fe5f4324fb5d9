// SPDX-License-Identifier: MIT
// The guest's one root object: clock, page allocator with its reporter, small-object heap. Made
// once by kmain, reachable from every vCPU through its page.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/kernel/crew.hpp"
#include "guest/mm/backoff.hpp"
#include "guest/mm/own_pages.hpp"
#include "guest/mm/page_allocator.hpp"
#include "guest/mm/page_platform.hpp"
#include "guest/mm/small_heap.hpp"
#include "guest/runtime/clock.hpp"
#include "shared/boot_info.hpp"
#include "shared/guest_status.hpp"
#include "shared/program_start.hpp"

namespace guest {

class Kernel final : private mm::PagePlatform, private mm::PageSource, private CrewPlatform {
 public:
  // Checks what the host says of itself, lays out free memory (allocator metadata first) and
  // negotiates. Panics when host and guest cannot work together.
  explicit Kernel(const abi::BootInfo& boot);
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // The kernel of the calling vCPU; null before kmain made it.
  [[nodiscard]] static Kernel* current();
  // Makes current() return this on the calling vCPU.
  void adopt_vcpu();

  [[nodiscard]] const abi::BootInfo& boot() const { return boot_; }
  [[nodiscard]] abi::GuestStatus& status() { return status_; }
  [[nodiscard]] mm::PageAllocator& pages() { return pages_; }
  [[nodiscard]] mm::SmallHeap& heap() { return heap_; }

  // Page blocks on the calling vCPU; nullptr when out of memory. A bad free panics.
  [[nodiscard]] void* allocate_pages(abi::Order order) override;
  void free_pages(void* block, abi::Order order) override;
  // The same with every byte zero; what the host has discarded need not be written for that.
  [[nodiscard]] void* allocate_zeroed_pages(abi::Order order);

  [[nodiscard]] std::uint64_t now_ns() override { return clock_.now_ns(); }
  [[nodiscard]] const Clock& clock() const { return clock_; }
  // Starts the other vCPUs; they serve the crew from then on.
  void start_vcpus();
  [[nodiscard]] Crew& crew() { return crew_; }

  // The same once: until then, or until an interrupt comes.
  void doze_until_ns(std::uint64_t deadline);
  // Idles the calling vCPU until the clock has reached `deadline`; reports meanwhile.
  void sleep_until_ns(std::uint64_t deadline);
  // For a loop that waits for another vCPU.
  [[nodiscard]] mm::Backoff backoff() { return mm::Backoff(*this); }
  // Reports everything and waits, bounded, for the answers.
  void settle();

  // RAM, without the hole.
  [[nodiscard]] std::uint64_t ram_bytes() const;
  // The Linux program to run; null: a workload.
  [[nodiscard]] abi::ProgramStart* program() const;
  // Value of a "key=value" boot argument; of the first with this key.
  [[nodiscard]] std::optional<std::string_view> arg(std::string_view key) const;
  // Calls visit(key, value) for each of them. One without "=" has an empty value.
  template <typename Visit> void for_each_arg(Visit visit) const {
    std::string_view rest(boot_.args, std::min<std::size_t>(boot_.args_bytes, sizeof boot_.args));
    while (!rest.empty()) {
      const std::string_view entry = rest.substr(0, rest.find('\0'));
      rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
      const std::string_view key = entry.substr(0, entry.find('='));
      visit(key, entry.substr(std::min(entry.size(), key.size() + 1)));
    }
  }

 private:
  // One sleep, until `deadline` at the latest: reports first what is due, wakes when more will be.
  void idle_until_ns(std::uint64_t deadline);
  [[nodiscard]] bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }

  void sleep() override;
  void wake(unsigned vcpu) override; // for the crew and for the allocator
  void relax() override;
  void nap(std::uint64_t ns) override;
  void count_spinning(std::uint64_t ns) override;
  void sleep_until(unsigned vcpu, std::uint64_t deadline_ns) override;
  void note_caller();
  void ring_doorbell(unsigned channel) override;
  [[nodiscard]] bool plug(abi::Gpa next) override;
  void prefault(abi::Gpa start, std::uint64_t bytes) override;
  [[nodiscard]] std::optional<abi::Order> block_order(const void* address) const override;

  const abi::BootInfo& boot_;
  abi::GuestStatus& status_;
  std::uint64_t features_; // accepted
  Clock clock_;
  mm::PageAllocator pages_;
  mm::OwnPages own_pages_;
  mm::SmallHeap heap_;
  Crew crew_;
  bool settling_timed_out_ = false; // the last time; vCPU 0's
};

} // namespace guest
