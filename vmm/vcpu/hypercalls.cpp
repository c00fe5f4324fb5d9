// SPDX-License-Identifier: MIT
#include "vmm/vcpu/hypercalls.hpp"

#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <ctime>
#include <span>

#include <fmt/core.h>

#include "shared/abi_version.hpp"
#include "shared/guest_status.hpp"
#include "shared/known_part.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"
#include "vmm/vcpu/crash_report.hpp"

namespace vmm {

namespace {

// Longest single wait; the guest asks again. Keeps the arithmetic far from overflow.
constexpr std::uint64_t max_wait_ns = 3'600'000'000'000;
constexpr std::uint64_t ns_per_s = 1'000'000'000;

std::uint64_t load_once(std::uint64_t& word) {
  return std::atomic_ref(word).load(std::memory_order_relaxed);
}

// A private copy of the payload; the guest may change the original meanwhile.
template <typename T> T copy_payload(const abi::VcpuPage& page) {
  static_assert(sizeof(T) <= sizeof(page.payload));
  T copy;
  std::memcpy(&copy, page.payload, sizeof copy);
  return copy;
}

} // namespace

struct Hypercalls::Call {
  abi::Hypercall number;
  std::uint64_t args[2];
};

abi::VcpuPage& Hypercalls::page_of(unsigned index) const {
  auto* const page = targets_.memory.object_at<abi::VcpuPage>(
      {EBB_VCPU_PAGE_GPA + std::uint64_t{index} * abi::page_bytes});
  assert(page != nullptr); // RAM always holds the reserved area
  return *page;
}

bool Hypercalls::is_panic(unsigned index) const {
  return load_once(page_of(index).number) == static_cast<std::uint64_t>(abi::Hypercall::panic);
}

void Hypercalls::dispatch(unsigned index) {
  auto* const page = &page_of(index);
  const Call call{static_cast<abi::Hypercall>(load_once(page->number)),
                  {load_once(page->args[0]), load_once(page->args[1])}};
  targets_.listener.on_call(index, call.number, call.args[0]);
  const abi::Status status = perform(call, *page);
  std::atomic_ref(page->result)
      .store(static_cast<std::uint64_t>(status), std::memory_order_relaxed);
}

abi::Status Hypercalls::perform(const Call& call, const abi::VcpuPage& page) {
  switch (call.number) {
  case abi::Hypercall::negotiate:
    return negotiate(page);
  case abi::Hypercall::console_write:
    return targets_.console.write({call.args[0]}, call.args[1]) ? abi::Status::ok
                                                                : abi::Status::bad_argument;
  case abi::Hypercall::wait:
    wait(call.args[0]);
    return abi::Status::ok;
  case abi::Hypercall::plug:
    return plug({call.args[0]});
  case abi::Hypercall::exit:
    exit(call.args[0]);
    return abi::Status::ok;
  case abi::Hypercall::panic:
    panic(page);
    return abi::Status::ok;
  case abi::Hypercall::workload_begin:
    return workload_begin();
  case abi::Hypercall::workload_end:
    return workload_end(call.args[0]);
  case abi::Hypercall::start_vcpus:
    return start_vcpus();
  case abi::Hypercall::prefault:
    return prefault({call.args[0]}, call.args[1]);
  case abi::Hypercall::file:
    if (targets_.on_file) {
      targets_.on_file();
      return abi::Status::ok;
    }
    break;
  case abi::Hypercall::socket:
    if (targets_.on_socket) {
      targets_.on_socket();
      return abi::Status::ok;
    }
    break;
  }
  return abi::Status::unknown;
}

abi::Status Hypercalls::negotiate(const abi::VcpuPage& page) {
  const auto whole = copy_payload<abi::GuestHello>(page);
  const auto hello =
      abi::known_part<abi::GuestHello>(std::as_bytes(std::span(&whole, 1)), whole.struct_bytes);
  const bool acceptable =
      hello.magic == abi::hello_magic && hello.version_major == abi::version_major &&
      hello.struct_bytes >= abi::hello_bytes_1_0 &&
      (hello.features_accepted & ~targets_.features_offered) == 0 &&
      hello.channel_bytes == sizeof(abi::Channel) &&
      hello.status_bytes >= abi::guest_status_bytes_1_0 && hello.status_bytes <= abi::page_bytes &&
      hello.managed_start_gpa % abi::page_bytes == 0 &&
      hello.managed_start_gpa >= targets_.free_start.value &&
      hello.managed_start_gpa <= targets_.memory.end().value;
  if (!acceptable || negotiated_.exchange(true)) {
    return abi::Status::bad_argument;
  }
  accepted_.store(hello.features_accepted, std::memory_order_release);
  if ((hello.features_accepted & abi::feature_plug) == 0) {
    if (auto plugged = targets_.slots.plug_all(); !plugged) {
      targets_.end.end({EndKind::host_failed, 0, plugged.error().message});
      return abi::Status::no_memory;
    }
  }
  targets_.listener.on_hello(hello);
  return abi::Status::ok;
}

// Once each and in order, whatever several vCPUs say at the same time: what was measured of a
// workload is no longer changed when it is over.
abi::Status Hypercalls::workload_begin() {
  auto expected = Workload::none;
  if (!workload_.compare_exchange_strong(expected, Workload::beginning)) {
    return abi::Status::bad_argument;
  }
  targets_.listener.on_workload_begin();
  workload_.store(Workload::running);
  return abi::Status::ok;
}

abi::Status Hypercalls::workload_end(std::uint64_t since_last_free_ns) {
  auto expected = Workload::running;
  if (!workload_.compare_exchange_strong(expected, Workload::over)) {
    return abi::Status::bad_argument;
  }
  targets_.listener.on_workload_end(since_last_free_ns);
  return abi::Status::ok;
}

// What is not offered does not exist; what is offered is there for a guest that said it uses it.
abi::Status Hypercalls::may_use(abi::Feature feature) const {
  if ((targets_.features_offered & feature) == 0) {
    return abi::Status::unknown;
  }
  return accepted(feature) ? abi::Status::ok : abi::Status::bad_argument;
}

abi::Status Hypercalls::start_vcpus() {
  if (const auto status = may_use(abi::feature_smp); status != abi::Status::ok) {
    return status;
  }
  if (vcpus_started_.exchange(true)) {
    return abi::Status::bad_argument;
  }
  targets_.listener.on_start_vcpus();
  return abi::Status::ok;
}

abi::Status Hypercalls::plug(abi::Gpa next) {
  if (const auto status = may_use(abi::feature_plug); status != abi::Status::ok) {
    return status;
  }
  const auto plugged = targets_.slots.plug(next);
  if (!plugged) {
    return abi::Status::no_memory;
  }
  return *plugged ? abi::Status::ok : abi::Status::bad_argument;
}

abi::Status Hypercalls::prefault(abi::Gpa start, std::uint64_t bytes) {
  if (const auto status = may_use(abi::feature_prefault); status != abi::Status::ok) {
    return status;
  }
  const std::uint64_t plugged = targets_.slots.plugged_end().value;
  const std::span<std::byte> memory = targets_.memory.at(start, bytes);
  if (memory.empty() || bytes > abi::prefault_bytes || bytes % abi::page_bytes != 0 ||
      start.value % abi::page_bytes != 0 || start.value + bytes > plugged) {
    return abi::Status::bad_argument;
  }
  if (::madvise(memory.data(), memory.size(), MADV_POPULATE_WRITE) != 0) {
    return abi::Status::no_memory; // then the guest's touch will have to do
  }
  ++prefaults_;
  prefaulted_bytes_ += bytes;
  return abi::Status::ok;
}

void Hypercalls::wait(std::uint64_t ns) const {
  const std::uint64_t bounded = std::min(ns, max_wait_ns);
  const timespec duration{static_cast<time_t>(bounded / ns_per_s),
                          static_cast<long>(bounded % ns_per_s)};
  pollfd stop{targets_.end.stop_fd(), POLLIN, 0};
  // An early return (a signal) is allowed for: the guest looks at its clock.
  static_cast<void>(::ppoll(&stop, 1, &duration, nullptr));
}

// A process has no more than 8 bits to say it: what does not fit must not look like success.
void Hypercalls::exit(std::uint64_t status) const {
  constexpr std::uint64_t largest = 255;
  if (status <= largest) {
    targets_.end.end({EndKind::exited, static_cast<std::uint8_t>(status), {}});
    return;
  }
  targets_.end.end({EndKind::exited, static_cast<std::uint8_t>(largest),
                    fmt::format("the guest's exit status is {}, which a process cannot have; "
                                "this one ends with {}",
                                static_cast<std::int64_t>(status), largest)});
}

void Hypercalls::panic(const abi::VcpuPage& page) {
  const auto record = copy_payload<abi::PanicRecord>(page);
  targets_.end.end(
      {EndKind::panicked, 0, "guest panic: " + describe_panic(record, targets_.symbols)});
}

} // namespace vmm
