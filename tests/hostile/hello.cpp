// SPDX-License-Identifier: MIT
// Attacks before and with the hello, in place of the kernel: the linker lets this entry point come
// first (--wrap). Runs when the boot arguments ask for the workload `hello`.
#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/print.hpp"
#include "guest/workload.hpp"
#include "shared/abi_version.hpp"
#include "shared/boot_info.hpp"
#include "shared/guest_status.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace {

namespace hypercall = guest::hypercall;

void expect(bool holds, std::string_view what) {
  if (!holds) {
    guest::print("{}\n", what);
    hypercall::exit(1);
  }
}

abi::GuestHello good_hello(const abi::BootInfo& boot) {
  abi::GuestHello hello;
  hello.version_major = abi::version_major;
  hello.version_minor = abi::version_minor;
  hello.struct_bytes = sizeof hello;
  hello.features_accepted = abi::feature_report;
  hello.channel_bytes = sizeof(abi::Channel);
  hello.status_bytes = sizeof(abi::GuestStatus);
  hello.managed_start_gpa = abi::align_up(boot.free_start_gpa, abi::huge_page_bytes);
  return hello;
}

// One thing wrong in each.
unsigned refuse_hellos(const abi::BootInfo& boot) {
  unsigned count = 0;
  const auto refuse = [&](auto spoil) {
    abi::GuestHello hello = good_hello(boot);
    spoil(hello);
    expect(hypercall::negotiate(hello) == abi::Status::bad_argument, "a bad hello was accepted");
    ++count;
  };
  refuse([](auto& hello) { hello.magic = 0; });
  refuse([](auto& hello) { hello.magic = abi::boot_info_magic; });
  refuse([](auto& hello) { ++hello.version_major; });
  refuse([](auto& hello) { hello.version_major = 0; });
  refuse([](auto& hello) { --hello.struct_bytes; });
  refuse([](auto& hello) { hello.struct_bytes = 0; });
  refuse([](auto& hello) { hello.features_accepted = ~std::uint64_t{0}; });
  refuse([&](auto& hello) { hello.features_accepted |= ~boot.features_offered; });
  refuse([](auto& hello) { --hello.channel_bytes; });
  refuse([](auto& hello) { hello.channel_bytes = UINT32_MAX; });
  refuse([](auto& hello) { hello.status_bytes = abi::guest_status_bytes_1_0 - 1; });
  refuse([](auto& hello) { hello.status_bytes = abi::page_bytes + 1; });
  refuse([](auto& hello) { hello.status_bytes = UINT32_MAX; });
  refuse([](auto& hello) { hello.managed_start_gpa = 0; });
  refuse([](auto& hello) { hello.managed_start_gpa = EBB_PAGE_TABLE_GPA; });
  refuse([](auto& hello) { ++hello.managed_start_gpa; });
  refuse([&](auto& hello) { hello.managed_start_gpa = boot.free_start_gpa - abi::page_bytes; });
  refuse([&](auto& hello) { hello.managed_start_gpa = boot.ram_bytes + abi::page_bytes; });
  refuse([](auto& hello) { hello.managed_start_gpa = ~(abi::page_bytes - 1); });
  return count;
}

abi::Outcome hint(const abi::BootInfo& boot) {
  auto& channel = *guest::arch::pointer_to<abi::Channel>({EBB_CHANNEL_GPA});
  const abi::Gpa start{abi::align_up(boot.free_start_gpa, abi::huge_page_bytes)};
  channel.pages[0].ranges[0] =
      abi::RangeDescriptor::make(abi::to_pfn(start), {0}, abi::RangeKind::hint);
  channel.rings.want_interrupt = 1; // which no hello here has accepted
  const std::uint32_t tail = channel.rings.submit_tail;
  channel.rings.submissions[tail % abi::ring_entries] = {tail, 0, 1};
  std::atomic_ref(channel.rings.submit_tail).store(tail + 1, std::memory_order_release);
  hypercall::ring_doorbell(0);
  // No feature_async was accepted: the answer is there.
  const std::uint32_t head = channel.rings.complete_head++;
  expect(std::atomic_ref(channel.rings.complete_tail).load(std::memory_order_acquire) == head + 1,
         "not answered before the doorbell returned");
  expect(std::atomic_ref(guest::arch::vcpu_page().wake_pending).load() == 0,
         "an interrupt that was not agreed to");
  return channel.rings.completions[head % abi::completion_entries].outcome(0);
}

[[noreturn]] void attack(const abi::BootInfo& boot) {
  expect(hint(boot) == abi::Outcome::failed, "a hint before the hello was accepted");
  expect(hypercall::start_vcpus() == abi::Status::bad_argument, "vCPUs started before the hello");
  const unsigned refused = refuse_hellos(boot);
  expect(hint(boot) == abi::Outcome::failed, "a hint after bad hellos was accepted");
  abi::GuestHello hello = good_hello(boot);
  // A guest of a later version says more than this host knows.
  hello.struct_bytes += 64;
  // The tags lie where nothing is; a host that looks at them must find out.
  hello.tags_gpa = UINT64_MAX - 1;
  hello.tags_first_pfn = 0;
  expect(hypercall::negotiate(hello) == abi::Status::ok, "a good hello was refused");
  expect(hypercall::negotiate(hello) == abi::Status::bad_argument, "a second hello was accepted");
  expect(hypercall::start_vcpus() == abi::Status::bad_argument, "vCPUs started, unasked for");
  expect(hypercall::plug({boot.plugged_end_gpa}) == abi::Status::bad_argument,
         "memory plugged, unasked for");
  expect(hint(boot) == abi::Outcome::discarded, "an honest hint is not answered");
  guest::print("{} hellos refused, survived\n", refused);
  hypercall::exit(0);
}

// Only registered, so that the image lists it: the entry point below catches it.
int listed(guest::Env&) {
  return 1;
}

} // namespace

extern "C" [[noreturn]] void __real_guest_entry(const abi::BootInfo* boot, std::uint32_t vcpu);
extern "C" [[noreturn]] void __wrap_guest_entry(const abi::BootInfo* boot, std::uint32_t vcpu);

void __wrap_guest_entry(const abi::BootInfo* boot, std::uint32_t vcpu) {
  // "workload=NAME" is the first boot argument.
  if (vcpu == 0 && std::string_view(boot->args) == "workload=hello") {
    attack(*boot);
  }
  __real_guest_entry(boot, vcpu);
}

EBB_WORKLOAD(hello, "hints before the hello, and bad hellos", listed);
