// SPDX-License-Identifier: MIT
// What a program's memory is made of on this machine: content, page tables, and what lies where.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "guest/arch/cpu.hpp"
#include "guest/arch/program.hpp"
#include "guest/kernel/kernel.hpp"
#include "guest/kernel/program_window.hpp"
#include "guest/linux/memory/address_zones.hpp"
#include "guest/linux/memory/page_frames.hpp"
#include "guest/linux/memory/page_tables.hpp"
#include "guest/linux/memory/retired_tables.hpp"
#include "guest/program/program_machine.hpp"

namespace guest {

// All of RAM is there at its own addresses.
class FrameBytes final : public linux::FrameContent {
 public:
  void zero(abi::Pfn first, std::uint64_t count) override {
    std::memset(at(first), 0, count * abi::page_bytes);
  }
  void copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) override {
    std::memcpy(arch::pointer_to<void>({to}), arch::pointer_to<void>({from}), bytes);
  }
  void write(abi::Gpa to, std::span<const std::byte> from) override {
    std::memcpy(arch::pointer_to<void>(to), from.data(), from.size());
  }

 private:
  [[nodiscard]] static void* at(abi::Pfn frame) {
    return arch::pointer_to<void>(abi::to_gpa(frame));
  }
};

// Page tables out of the page allocator.
class TablePages final : public linux::TableStore {
 public:
  // Both outlive this.
  TablePages(Kernel& kernel, ProgramMachine& machine) : kernel_(kernel), machine_(machine) {}

  [[nodiscard]] std::optional<abi::Gpa> allocate() override {
    give_back();
    void* const page = kernel_.allocate_zeroed_pages({0});
    return page == nullptr ? std::nullopt : std::optional(arch::address_of(page));
  }
  void release(abi::Gpa table) override {
    if (machine_.vcpus() == 1) {
      free(table);
      return;
    }
    retired_.add(table, machine_.lock().stops());
    give_back();
    if (retired_.count() > most_retired) {
      machine_.lock().call_late_ones(machine_.vcpu());
    }
  }
  [[nodiscard]] std::uint64_t* entries(abi::Gpa table) override { return entries_of(table); }
  void stop_others() override { machine_.stop_others(); }
  void flush() override {
    machine_.stop_others();
    arch::flush_translations();
  }
  void flush_here() override { arch::flush_translations(); }

 private:
  // So many wait for vCPUs that rest before these are woken for that.
  static constexpr std::size_t most_retired = 64;

  [[nodiscard]] static std::uint64_t* entries_of(abi::Gpa table) {
    return arch::pointer_to<std::uint64_t>(table);
  }
  void free(abi::Gpa table) { kernel_.free_pages(arch::pointer_to<void>(table), {0}); }
  void give_back() {
    while (const auto table = retired_.take(machine_.lock().forgotten())) {
      free(*table);
    }
  }

  Kernel& kernel_;
  ProgramMachine& machine_;
  linux::RetiredTables retired_{&entries_of};
};

// What lies where: page 0 and what the host keeps before RAM, the hole with the guest's image and
// its own memory, the workload's input.
[[nodiscard]] inline linux::AddressZones zones_of(const abi::BootInfo& boot) {
  constexpr std::uint64_t image_area_end = std::uint64_t{1} << 32;
  const std::uint64_t hole_start =
      boot.hole_start_gpa != 0 ? boot.hole_start_gpa : std::uint64_t{EBB_IMAGE_GPA};
  linux::AddressZones zones;
  const ProgramWindow window = program_window(boot);
  zones.window = {window.start, window.end};
  zones.ram_end = boot.ram_bytes;
  zones.closed = {{{0, boot.free_start_gpa},
                   {std::min(hole_start, std::uint64_t{EBB_IMAGE_GPA}),
                    std::max(image_area_end, boot.hole_end_gpa)},
                   {boot.input_gpa, boot.input_gpa + boot.input_bytes}}};
  return zones;
}

} // namespace guest
