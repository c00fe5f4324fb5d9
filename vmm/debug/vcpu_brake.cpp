// SPDX-License-Identifier: MIT
#include "vmm/debug/vcpu_brake.hpp"

#include <cassert>
#include <chrono>

namespace vmm {

namespace {

// A kick that arrives just before its thread begins to wait for something in the host is lost, so
// it is repeated.
constexpr std::chrono::milliseconds kick_again_after{20};

bool is_final(const DebugStop& stop) {
  return stop.reason == StopReason::panic || stop.reason == StopReason::crash;
}

} // namespace

Result<std::unique_ptr<VcpuBrake>> VcpuBrake::create(unsigned vcpus, Kick kick) {
  EBB_TRY_ASSIGN(event, Event::create("the debugger's stops"));
  return std::unique_ptr<VcpuBrake>(new VcpuBrake(vcpus, std::move(kick), std::move(event)));
}

bool VcpuBrake::may_enter(unsigned vcpu) {
  const std::scoped_lock lock(mutex_);
  Hold& hold = holds_[vcpu];
  hold.running = ended_ || !hold.held;
  return hold.running;
}

void VcpuBrake::wait(unsigned vcpu) {
  std::unique_lock lock(mutex_);
  Hold& hold = holds_[vcpu];
  hold.running = false;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !hold.held || ended_; });
}

void VcpuBrake::report(const DebugStop& stop) {
  note(stop);
  wait(stop.vcpu);
}

void VcpuBrake::note(const DebugStop& stop) {
  const std::scoped_lock lock(mutex_);
  note_locked(stop);
}

void VcpuBrake::note_locked(const DebugStop& stop) {
  Hold& hold = holds_[stop.vcpu];
  hold.held = true;
  hold.stop = stop;
  hold.order = next_order_++;
  event_.set();
}

bool VcpuBrake::take_event() {
  event_.clear();
  const std::scoped_lock lock(mutex_);
  for (const Hold& hold : holds_) {
    if (hold.stop) {
      return true;
    }
  }
  return false;
}

std::vector<unsigned> VcpuBrake::running_locked() const {
  std::vector<unsigned> running;
  for (unsigned index = 0; index < holds_.size(); ++index) {
    if (holds_[index].running) {
      running.push_back(index);
    }
  }
  return running;
}

bool VcpuBrake::hold_all() {
  std::unique_lock lock(mutex_);
  for (Hold& hold : holds_) {
    hold.held = true;
  }
  while (!ended_) {
    const std::vector<unsigned> running = running_locked();
    if (running.empty()) {
      break;
    }
    lock.unlock();
    for (const unsigned vcpu : running) {
      kick_(vcpu);
    }
    lock.lock();
    changed_.wait_for(lock, kick_again_after, [&] { return ended_ || running_locked().empty(); });
  }
  return !ended_;
}

std::optional<DebugStop> VcpuBrake::take_stop() {
  event_.clear();
  const std::scoped_lock lock(mutex_);
  Hold* first = nullptr;
  for (Hold& hold : holds_) {
    if (hold.stop && (first == nullptr || hold.order < first->order)) {
      first = &hold;
    }
  }
  if (first == nullptr) {
    return std::nullopt;
  }
  const DebugStop told = *first->stop;
  first->stop.reset();
  for (Hold& hold : holds_) {
    if (hold.stop && !is_final(*hold.stop)) {
      hold.stop.reset();
    }
  }
  return told;
}

bool VcpuBrake::let_go(std::span<const VcpuResume> actions) {
  const std::scoped_lock lock(mutex_);
  assert(actions.size() == holds_.size());
  for (const Hold& hold : holds_) {
    if (hold.stop) {
      event_.set();
      return false;
    }
  }
  for (std::size_t index = 0; index < holds_.size(); ++index) {
    holds_[index].held = actions[index].action == VcpuAction::stay;
  }
  changed_.notify_all();
  return true;
}

void VcpuBrake::end() {
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

} // namespace vmm
