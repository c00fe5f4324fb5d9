// SPDX-License-Identifier: MIT
// Carries out hypercalls: number and arguments are copied once from the vCPU page, the result is
// written back there. A wrong argument is answered, never an error of the host's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "shared/abi_version.hpp"
#include "shared/boot_info.hpp"
#include "shared/hypercall.hpp"
#include "vmm/base/symbols.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/vcpu/console.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

// Whoever acts on what a guest's calls mean beyond their answers. All on the vCPU's thread, which
// goes on when it returns.
class HypercallListener {
 public:
  virtual ~HypercallListener() = default;

  // Before a call is carried out; may block.
  virtual void on_call(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) = 0;
  // The guest's hello was accepted; at most once.
  virtual void on_hello(const abi::GuestHello& hello) = 0;
  // The other vCPUs, if there are any, are to start; at most once, with feature_smp.
  virtual void on_start_vcpus() = 0;
  // At most once each, the end after the beginning.
  virtual void on_workload_begin() = 0;
  virtual void on_workload_end(std::uint64_t since_last_free_ns) = 0;
};

// What hypercalls act on. References outlive the dispatcher.
struct HypercallTargets {
  GuestMemory& memory;
  MemorySlots& slots;
  Console& console;
  GuestEnd& end;
  const Symbols& symbols;
  HypercallListener& listener;
  std::uint64_t features_offered = 0;
  // Returns when the file calls in the vCPUs' mailboxes are answered. Empty: no program is run.
  std::function<void()> on_file{};
  // The same of socket calls. Empty: the program has no network.
  std::function<void()> on_socket{};
  abi::Gpa free_start; // hints below are never accepted, whatever the guest says it manages
};

class Hypercalls {
 public:
  explicit Hypercalls(const HypercallTargets& targets) : targets_(targets) {}

  // Calls that made memory resident, and how much they were for; any thread.
  [[nodiscard]] std::uint64_t prefaults() const { return prefaults_; }
  [[nodiscard]] std::uint64_t prefaulted_bytes() const { return prefaulted_bytes_; }

  // Carries out the call in vCPU `index`'s page, on that vCPU's thread. `wait` blocks, but no
  // longer than until the guest ends.
  void dispatch(unsigned index);
  // Whether the guest has agreed to use a feature, in a hello that was accepted. Any thread.
  [[nodiscard]] bool accepted(abi::Feature feature) const {
    return (accepted_.load(std::memory_order_acquire) & feature) != 0;
  }
  // Whether the call there would be the guest's last word on its own failure.
  [[nodiscard]] bool is_panic(unsigned index) const;

 private:
  struct Call; // private copy of number and arguments

  [[nodiscard]] abi::VcpuPage& page_of(unsigned index) const;
  [[nodiscard]] abi::Status perform(const Call& call, const abi::VcpuPage& page);
  [[nodiscard]] abi::Status negotiate(const abi::VcpuPage& page);
  [[nodiscard]] abi::Status workload_begin();
  [[nodiscard]] abi::Status workload_end(std::uint64_t since_last_free_ns);
  [[nodiscard]] abi::Status plug(abi::Gpa next);
  [[nodiscard]] abi::Status prefault(abi::Gpa start, std::uint64_t bytes);
  [[nodiscard]] abi::Status start_vcpus();
  [[nodiscard]] abi::Status may_use(abi::Feature feature) const;
  void wait(std::uint64_t ns) const;
  void exit(std::uint64_t status) const;
  void panic(const abi::VcpuPage& page);

  enum class Workload : std::uint8_t { none, beginning, running, over };

  const HypercallTargets targets_;
  std::atomic<bool> negotiated_{false};
  std::atomic<std::uint64_t> accepted_{0}; // features, of the hello
  std::atomic<bool> vcpus_started_{false};
  std::atomic<Workload> workload_{Workload::none};
  std::atomic<std::uint64_t> prefaults_{0};
  std::atomic<std::uint64_t> prefaulted_bytes_{0};
};

} // namespace vmm
