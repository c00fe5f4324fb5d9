// SPDX-License-Identifier: MIT
#include "vmm/profile/guest_profile.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "vmm/base/clock.hpp"
#include "vmm/profile/stack_walk.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t ns_per_s = 1'000'000'000;

// Two words of a stack, which mostly lie in the page that the last two were in.
class StackPages {
 public:
  StackPages(const GuestView& view, std::uint64_t cr3) : view_(view), cr3_(cr3) {}

  std::optional<TwoWords> operator()(std::uint64_t address) {
    TwoWords words;
    const auto to = std::as_writable_bytes(std::span(&words, 1));
    const std::uint64_t in_page = address % abi::page_bytes;
    if (in_page + to.size() > abi::page_bytes) {
      return view_.read(cr3_, address, to) == to.size() ? std::optional(words) : std::nullopt;
    }
    if (address - in_page != page_) {
      page_ = address - in_page;
      gpa_ = view_.translate(cr3_, page_);
    }
    return gpa_ && view_.read_physical({gpa_->value + in_page}, to) ? std::optional(words)
                                                                    : std::nullopt;
  }

 private:
  const GuestView& view_;
  const std::uint64_t cr3_;
  std::uint64_t page_ = ~std::uint64_t{0};
  std::optional<abi::Gpa> gpa_;
};

} // namespace

Result<std::unique_ptr<GuestProfile>> GuestProfile::create(GuestProfileParts parts,
                                                           std::uint32_t hz) {
  EBB_TRY(GuestView::check_access("--profile"));
  return std::unique_ptr<GuestProfile>(new GuestProfile(std::move(parts), hz));
}

GuestProfile::GuestProfile(GuestProfileParts parts, std::uint32_t hz)
    : parts_(std::move(parts)), period_ns_(ns_per_s / hz),
      view_(parts_.memory, parts_.plugged_end, ReadOnlyArea{}),
      timers_(parts_.signal, std::chrono::nanoseconds(period_ns_)), code_(parts_.lines),
      due_(parts_.vcpus.size(), DueTicks(period_ns_)), counts_(parts_.vcpus.size()) {
  if (parts_.times == SampleTimes::kept) {
    series_.resize(parts_.vcpus.size(), SampleSeries(period_ns_));
  }
}

void GuestProfile::look(unsigned vcpu, VcpuTurn turn) {
  const std::uint64_t now_ns = monotonic_ns();
  if (const std::uint64_t ticks = due_[vcpu].take(now_ns, turn); ticks != 0) {
    const Stack& stack = counts_[vcpu].add(stack_of(parts_.vcpus[vcpu], turn), ticks);
    if (!series_.empty()) {
      series_[vcpu].add({now_ns, ticks, &stack});
    }
  }
}

Stack GuestProfile::stack_of(const Vcpu& vcpu, VcpuTurn turn) const {
  Stack stack{turn == VcpuTurn::host ? VcpuActivity::host : VcpuActivity::guest, {}};
  if (turn == VcpuTurn::guest && vcpu.is_halted()) {
    stack.activity = VcpuActivity::idle;
    return stack;
  }
  const auto general = vcpu.registers();
  const auto system = vcpu.system_registers();
  if (general && system) {
    StackPages pages(view_, system->cr3);
    stack.addresses = walk_stack({general->rip, general->rbp}, std::ref(pages));
    for (std::uint64_t& address : stack.addresses) {
      address = code_.place_of(address);
    }
  }
  return stack;
}

} // namespace vmm
