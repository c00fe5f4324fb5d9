// SPDX-License-Identifier: MIT
#include "guest/kernel/kernel.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/kernel/program_window.hpp"
#include "guest/mm/status_field.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/runtime/panic.hpp"
#include "shared/abi_version.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace guest {

namespace {

constexpr std::uint64_t features_known =
    abi::feature_report | abi::feature_zeroed | abi::feature_plug | abi::feature_async |
    abi::feature_interrupt | abi::feature_smp | abi::feature_vmcall | abi::feature_retune |
    abi::feature_trace | abi::feature_prefault | abi::feature_files | abi::feature_sockets;
// Longest sleep in a hypercall of a vCPU that no interrupt can wake.
constexpr std::uint64_t longest_wait_ns = 10'000'000;
constexpr std::uint64_t settle_timeout_ns = 10'000'000'000;
constexpr std::uint64_t settle_again_timeout_ns = 1'000'000'000;

// The boot info page outlives everything.
const abi::BootInfo& checked(const abi::BootInfo& boot) {
  if (boot.magic != abi::boot_info_magic || boot.version_major != abi::version_major) {
    panic("host speaks ABI {}.{} (magic {:#x}), this guest {}.{}", boot.version_major,
          boot.version_minor, boot.magic, abi::version_major, abi::version_minor);
  }
  if (boot.struct_bytes < abi::boot_info_bytes_1_0 || boot.tsc_khz == 0 || boot.vcpus == 0 ||
      boot.vcpus > EBB_MAX_VCPUS || boot.free_start_gpa >= boot.ram_bytes) {
    panic("boot info makes no sense: {} bytes, {} kHz, {} vCPUs", boot.struct_bytes, boot.tsc_khz,
          boot.vcpus);
  }
  return boot; // NOLINT(bugprone-return-const-ref-from-parameter): see above
}

// Memory of the guest's own, outside RAM; empty where there is none.
std::span<std::byte> own_memory(const abi::BootInfo& boot) {
  if (!abi::knows_1_2(boot) || boot.own_start_gpa >= boot.own_end_gpa) {
    return {};
  }
  return {arch::pointer_to<std::byte>({boot.own_start_gpa}), boot.own_end_gpa - boot.own_start_gpa};
}

// The allocator's metadata, and what it manages: all free memory where the metadata has room in the
// guest's own, else what is behind the metadata.
struct Layout {
  explicit Layout(const abi::BootInfo& boot)
      : metadata{std::max(boot.free_start_gpa, program_window(boot).end)},
        end(abi::to_pfn({boot.ram_bytes})),
        metadata_bytes(
            abi::align_up(mm::Buddy::metadata_bytes(abi::to_pfn(metadata), end), abi::page_bytes)),
        managed(metadata + metadata_bytes) {
    if (const std::span<std::byte> own = own_memory(boot); own.size() >= metadata_bytes) {
      managed = metadata;
      metadata = arch::address_of(own.data());
    }
    if (managed.value >= boot.plugged_end_gpa) {
      panic("{} MiB of RAM are too little for {} KiB of allocator metadata", boot.ram_bytes >> 20,
            metadata_bytes >> 10);
    }
  }

  abi::Gpa metadata;
  abi::Pfn end;
  std::uint64_t metadata_bytes;
  abi::Gpa managed;
};

mm::PageAllocatorConfig allocator_config(const abi::BootInfo& boot) {
  const Layout layout(boot);
  const bool may_plug = (boot.features_offered & abi::feature_plug) != 0;
  mm::PageAllocatorConfig config;
  config.first = abi::to_pfn(layout.managed);
  config.end = layout.end;
  config.plugged_end = may_plug ? abi::to_pfn({boot.plugged_end_gpa}) : layout.end;
  config.plug_frames = boot.plug_bytes / abi::page_bytes;
  config.policy = boot.report;
  if ((boot.features_offered & abi::feature_report) == 0) {
    config.policy.enabled = 0;
  }
  if (abi::knows_1_1(boot)) {
    config.hole = {abi::to_pfn({boot.hole_start_gpa}), abi::to_pfn({boot.hole_end_gpa})};
    config.timeout_ns = boot.control.timeout_ns;
    if ((boot.features_offered & abi::feature_prefault) != 0) {
      config.prefault = abi::Order{static_cast<std::uint8_t>(boot.prefault_order)};
    }
    if ((boot.features_offered & abi::feature_retune) != 0) {
      config.control = &boot.control;
    }
  }
  config.discarded = (boot.features_offered & abi::feature_zeroed) != 0
                         ? mm::DiscardedContent::zero
                         : mm::DiscardedContent::unknown;
  if ((boot.features_offered & abi::feature_trace) != 0 && abi::knows_1_1(boot)) {
    config.events = mm::EventWriter(arch::pointer_to<abi::EventRing>({EBB_EVENT_RING_GPA}),
                                    static_cast<abi::TraceLevel>(boot.trace_level));
  }
  return config;
}

std::span<std::byte> metadata_memory(const abi::BootInfo& boot) {
  const Layout layout(boot);
  return {arch::pointer_to<std::byte>(layout.metadata), layout.metadata_bytes};
}

// What the allocator's metadata leaves of the guest's own memory, where a program is run: a
// workload's objects are in RAM and counted there.
std::span<std::byte> own_heap_memory(const abi::BootInfo& boot) {
  const Layout layout(boot);
  const std::span<std::byte> own = own_memory(boot);
  if ((boot.features_offered & abi::feature_files) == 0 || own.size() < layout.metadata_bytes) {
    return {};
  }
  return own.subspan(layout.metadata_bytes);
}

// The page allocator copies the pointers.
class ChannelPointers {
 public:
  explicit ChannelPointers(unsigned count) : count_(count) {
    for (unsigned index = 0; index < count; ++index) {
      pointers_[index] = arch::pointer_to<abi::Channel>(
          {EBB_CHANNEL_GPA + std::uint64_t{index} * EBB_CHANNEL_BYTES});
    }
  }
  [[nodiscard]] std::span<abi::Channel* const> span() const { return {pointers_.data(), count_}; }

 private:
  unsigned count_;
  std::array<abi::Channel*, EBB_MAX_VCPUS> pointers_{};
};

unsigned this_vcpu() {
  return arch::vcpu_page().vcpu;
}

} // namespace

Kernel::Kernel(const abi::BootInfo& boot)
    : boot_(checked(boot)), status_(*arch::pointer_to<abi::GuestStatus>({EBB_STATUS_GPA})),
      features_(boot.features_offered & features_known), clock_(boot.tsc_khz),
      pages_(*this, allocator_config(boot), metadata_memory(boot),
             ChannelPointers(boot.vcpus).span(), status_),
      own_pages_(own_heap_memory(boot), *this, *this), heap_(own_pages_, *this),
      crew_(*this, boot.vcpus) {
  const Layout layout(boot);
  abi::GuestHello hello;
  hello.version_major = abi::version_major;
  hello.version_minor = abi::version_minor;
  hello.struct_bytes = sizeof hello;
  hello.features_accepted = features_;
  hello.channel_bytes = sizeof(abi::Channel);
  hello.status_bytes = sizeof(abi::GuestStatus);
  hello.managed_start_gpa = layout.managed.value;
  hello.tags_gpa = arch::address_of(pages_.buddy().tags().data()).value;
  hello.tags_first_pfn = pages_.buddy().tags().base().value;
  if (const abi::Status status = hypercall::negotiate(hello); status != abi::Status::ok) {
    panic("host refused the hello: status {}", static_cast<unsigned>(status));
  }
}

Kernel* Kernel::current() {
  return arch::pointer_to<Kernel>({arch::vcpu_page().guest_private});
}

void Kernel::adopt_vcpu() {
  arch::vcpu_page().guest_private = arch::address_of(this).value;
}

// From here on events name the caller of the function that this is inlined into.
[[gnu::always_inline]] inline void Kernel::note_caller() {
  if (pages_.events().on()) [[unlikely]] {
    pages_.events().set_caller(this_vcpu(), arch::address_of(__builtin_return_address(0)).value);
  }
}

void* Kernel::allocate_pages(abi::Order order) {
  note_caller();
  const mm::Allocation block = pages_.allocate(this_vcpu(), order);
  return block.ok() ? arch::pointer_to<void>(abi::to_gpa(block.pfn)) : nullptr;
}

void* Kernel::allocate_zeroed_pages(abi::Order order) {
  note_caller();
  const unsigned vcpu = this_vcpu();
  const mm::Allocation block = pages_.allocate(vcpu, order);
  if (!block.ok()) {
    return nullptr;
  }
  void* const address = arch::pointer_to<void>(abi::to_gpa(block.pfn));
  abi::VcpuCounters& counters = status_.vcpu[vcpu];
  mm::add(counters.zero_asked_frames, order.frames());
  if (block.content == mm::Content::zeroed) {
    mm::add(counters.zero_known_frames, order.frames());
  } else {
    std::memset(address, 0, order.bytes());
  }
  return address;
}

void Kernel::free_pages(void* block, abi::Order order) {
  note_caller();
  const abi::Gpa gpa = arch::address_of(block);
  const mm::FreeResult result = gpa.value % abi::page_bytes == 0
                                    ? pages_.free(this_vcpu(), abi::to_pfn(gpa), order)
                                    : mm::FreeResult::unaligned;
  switch (result) {
  case mm::FreeResult::ok:
    return;
  case mm::FreeResult::not_allocated:
    panic("double or wild free of {:#x}, order {}", gpa.value, order.value);
  case mm::FreeResult::wrong_order:
    panic("free of {:#x} with order {}, allocated with another", gpa.value, order.value);
  case mm::FreeResult::out_of_range:
    panic("free of {:#x}, which is not allocatable memory", gpa.value);
  case mm::FreeResult::unaligned:
    panic("free of {:#x}, which is not aligned for order {}", gpa.value, order.value);
  }
}

void Kernel::start_vcpus() {
  if (boot_.vcpus == 1) {
    return;
  }
  if (!has(abi::feature_smp) || !has(abi::feature_interrupt) ||
      hypercall::start_vcpus() != abi::Status::ok) {
    panic("host gives {} vCPUs but does not start them", boot_.vcpus);
  }
}

void Kernel::sleep_until_ns(std::uint64_t deadline) {
  note_caller();
  do { // also a sleep of no length is a chance to report
    idle_until_ns(deadline);
  } while (now_ns() < deadline);
}

void Kernel::doze_until_ns(std::uint64_t deadline) {
  note_caller();
  idle_until_ns(deadline);
}

void Kernel::idle_until_ns(std::uint64_t deadline) {
  const std::uint64_t report_at = pages_.idle(this_vcpu());
  const std::uint64_t wake_at = std::min(deadline, report_at);
  if (wake_at <= now_ns()) {
    return;
  }
  // An answer ends the sleep by interrupt, if it is not there already.
  if (pages_.arm_interrupt(this_vcpu())) {
    sleep_until(this_vcpu(), wake_at);
    pages_.disarm_interrupt(this_vcpu());
  }
}

void Kernel::sleep_until(unsigned /*vcpu*/, std::uint64_t deadline_ns) {
  if (has(abi::feature_interrupt)) {
    arch::halt_until(deadline_ns == mm::PageAllocator::never ? 0 : clock_.tsc_at(deadline_ns));
    return;
  }
  const std::uint64_t now = now_ns();
  if (now < deadline_ns) {
    hypercall::wait(std::min(deadline_ns - now, longest_wait_ns));
  }
}

void Kernel::sleep() {
  note_caller();
  idle_until_ns(mm::PageAllocator::never);
}

void Kernel::wake(unsigned vcpu) {
  arch::wake_vcpu(vcpu);
}

void Kernel::settle() {
  note_caller();
  // Timing out leaves memory with the host; the summary shows how much. What did not come in that
  // time is not waited for as long again.
  const std::uint64_t patience_ns =
      settling_timed_out_ ? settle_again_timeout_ns : settle_timeout_ns;
  settling_timed_out_ =
      pages_.quiesce(this_vcpu(), now_ns() + patience_ns) == mm::QuiesceResult::timed_out;
}

abi::ProgramStart* Kernel::program() const {
  if (!has(abi::feature_files) || !abi::knows_1_2(boot_) || boot_.program_gpa == 0) {
    return nullptr;
  }
  auto* const start = arch::pointer_to<abi::ProgramStart>({boot_.program_gpa});
  if (start->magic != abi::program_start_magic) {
    panic("no program at {:#x}", boot_.program_gpa);
  }
  return start;
}

std::uint64_t Kernel::ram_bytes() const {
  return boot_.ram_bytes - (abi::knows_1_1(boot_) ? boot_.hole_end_gpa - boot_.hole_start_gpa : 0);
}

std::optional<std::string_view> Kernel::arg(std::string_view key) const {
  std::optional<std::string_view> found;
  for_each_arg([&](std::string_view candidate, std::string_view value) {
    if (!found && candidate == key) {
      found = value;
    }
  });
  return found;
}

void Kernel::ring_doorbell(unsigned channel) {
  hypercall::ring_doorbell(channel,
                           has(abi::feature_vmcall) ? boot_.doorbell : abi::Doorbell::port);
}

void Kernel::prefault(abi::Gpa start, std::uint64_t bytes) {
  hypercall::prefault(start, bytes);
}

bool Kernel::plug(abi::Gpa next) {
  return hypercall::plug(next) == abi::Status::ok;
}

void Kernel::relax() {
  arch::pause();
}

void Kernel::nap(std::uint64_t ns) {
  hypercall::wait(ns);
}

void Kernel::count_spinning(std::uint64_t ns) {
  mm::add(status_.vcpu[this_vcpu()].spun_ns, ns);
}

std::optional<abi::Order> Kernel::block_order(const void* address) const {
  return pages_.allocated_order(abi::to_pfn(arch::address_of(address)));
}

} // namespace guest
