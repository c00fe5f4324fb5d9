// SPDX-License-Identifier: MIT
// A guest without KVM for tests of the debugger's protocol: some memory, registers, and a note of
// everything that was asked of it.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "vmm/debug/debug_target.hpp"

namespace test_support {

class FakeDebugTarget final : public vmm::DebugTarget {
 public:
  static constexpr std::uint64_t memory_start = 0x400000;
  static constexpr std::uint64_t memory_bytes = 0x10000;

  explicit FakeDebugTarget(unsigned vcpus = 2)
      : registers_of(vcpus), memory(memory_bytes), event_(::eventfd(0, EFD_NONBLOCK)) {
    for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
      registers_of[vcpu].rip = memory_start + vcpu;
      registers_of[vcpu].segments[0] = 0x23;
    }
  }
  FakeDebugTarget(const FakeDebugTarget&) = delete;
  FakeDebugTarget& operator=(const FakeDebugTarget&) = delete;
  ~FakeDebugTarget() override { ::close(event_); }

  // A vCPU stops by itself.
  void stop_by_itself(const vmm::DebugStop& stop) {
    next_stop = stop;
    ::eventfd_write(event_, 1);
  }

  [[nodiscard]] unsigned vcpus() const override {
    return static_cast<unsigned>(registers_of.size());
  }
  [[nodiscard]] int stop_event() const override { return event_; }
  [[nodiscard]] bool take_stop_event() override {
    eventfd_t count = 0;
    static_cast<void>(::eventfd_read(event_, &count));
    return next_stop.has_value();
  }
  vmm::DebugStop stop() override {
    ++stops;
    stopped = true;
    const vmm::DebugStop told = next_stop.value_or(vmm::DebugStop{});
    next_stop.reset();
    return told;
  }
  void resume(std::span<const vmm::VcpuResume> actions) override {
    assert(stopped && actions.size() == vcpus());
    stopped = false;
    resumed.assign(actions.begin(), actions.end());
    ++resumes;
  }
  [[nodiscard]] std::optional<vmm::DebugRegisters> registers(unsigned vcpu) override {
    assert(stopped);
    return registers_of.at(vcpu);
  }
  [[nodiscard]] bool set_registers(unsigned vcpu, const vmm::DebugRegisters& registers) override {
    assert(stopped);
    if (registers.segments != registers_of.at(vcpu).segments) {
      return false;
    }
    registers_of.at(vcpu) = registers;
    return true;
  }
  [[nodiscard]] std::size_t read_memory(unsigned, std::uint64_t address,
                                        std::span<std::byte> to) override {
    assert(stopped);
    std::size_t done = 0;
    for (; done < to.size() && contains(address + done); ++done) {
      to[done] = memory[address + done - memory_start];
    }
    return done;
  }
  [[nodiscard]] bool write_memory(unsigned, std::uint64_t address,
                                  std::span<const std::byte> from) override {
    assert(stopped);
    if (from.empty() || !contains(address) || from.size() > memory_start + memory_bytes - address) {
      return false;
    }
    std::copy(from.begin(), from.end(),
              memory.begin() + static_cast<std::ptrdiff_t>(address - memory_start));
    return true;
  }
  [[nodiscard]] bool insert_breakpoint(unsigned, std::uint64_t address) override {
    assert(stopped);
    return contains(address) && (breakpoints.insert(address), true);
  }
  void remove_breakpoint(std::uint64_t address) override {
    assert(stopped);
    breakpoints.erase(address);
  }
  [[nodiscard]] std::string describe(unsigned vcpu) override {
    assert(stopped);
    return vcpu == 0 ? "at CPL3" : "in ring 0";
  }
  void attach() override { attached = true; }
  void release() override {
    attached = false;
    stopped = false;
    breakpoints.clear();
    ++releases;
  }
  void kill() override { ++kills; }
  [[nodiscard]] std::string monitor(std::string_view command) override {
    return command == "quiet" ? std::string() : "you said " + std::string(command) + "\n";
  }

  std::vector<vmm::DebugRegisters> registers_of;
  std::vector<std::byte> memory;
  std::set<std::uint64_t> breakpoints;
  std::optional<vmm::DebugStop> next_stop; // what stop() tells
  std::vector<vmm::VcpuResume> resumed;    // by the last resume()
  bool attached = false;
  bool stopped = false;
  unsigned stops = 0;
  unsigned resumes = 0;
  unsigned releases = 0;
  unsigned kills = 0;

 private:
  static bool contains(std::uint64_t address) {
    return address >= memory_start && address - memory_start < memory_bytes;
  }

  int event_;
};

} // namespace test_support
