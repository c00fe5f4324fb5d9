// SPDX-License-Identifier: MIT
#include "guest/linux/threads/scheduler.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace guest::linux {

Scheduler::Scheduler(Machine& machine, Contexts& contexts, ThreadOwner& owner,
                     std::unique_ptr<Thread> first)
    : machine_(machine), contexts_(contexts), owner_(owner), vcpus_(machine.vcpus()),
      here_(&vcpus_[machine.vcpu()]) {
  for (Vcpu& vcpu : vcpus_) {
    vcpu.index = static_cast<unsigned>(&vcpu - vcpus_.data());
    vcpu.rests = &vcpu != here_;
  }
  threads_.push_back(std::move(first));
  Thread& runs = *threads_.front();
  runs.state = Thread::State::running;
  runs.vcpu = here_->index;
  here_->running = &runs;
  here_->runs_since_ns = machine.now_ns();
}

void Scheduler::serve() {
  here_->home = contexts_.first();
  go_to_next();
  std::unreachable(); // nobody goes on with what is home
}

bool Scheduler::is_anywhere(const Process& process) const {
  return std::ranges::any_of(vcpus_, [&](const Vcpu& vcpu) {
    return vcpu.running != nullptr && vcpu.running->process == &process;
  });
}

unsigned Scheduler::vcpus_of(const Process& process) const {
  const auto count = std::ranges::count_if(
      vcpus_, [&](const Vcpu& vcpu) { return !vcpu.rests && vcpu.running->process == &process; });
  return std::max(1U, static_cast<unsigned>(count));
}

Thread* Scheduler::find(std::int64_t id) const {
  const auto found =
      std::ranges::find_if(threads_, [id](const auto& thread) { return thread->id == id; });
  return found == threads_.end() ? nullptr : found->get();
}

std::uint64_t Scheduler::used_ns(const Thread& thread) const {
  const bool runs = thread.state == Thread::State::running;
  return thread.used_ns + (runs ? machine_.now_ns() - vcpus_[thread.vcpu].runs_since_ns : 0);
}

void Scheduler::add(std::unique_ptr<Thread> thread) {
  Thread& added = *thread;
  threads_.push_back(std::move(thread));
  make_ready(added);
}

// ---- who is ready ------------------------------------------------------------------------------

void Scheduler::make_ready(Thread& thread) {
  thread.state = Thread::State::ready;
  if (thread.is_held) {
    return;
  }
  enqueue(thread);
  hand_out();
}

void Scheduler::enqueue(Thread& thread) {
  thread.state = Thread::State::ready;
  thread.ready_since_ns = machine_.now_ns();
  thread.next = nullptr;
  (last_ready_ == nullptr ? first_ready_ : last_ready_->next) = &thread;
  last_ready_ = &thread;
}

void Scheduler::unlink(Thread* before, const Thread& thread) {
  (before == nullptr ? first_ready_ : before->next) = thread.next;
  last_ready_ = last_ready_ == &thread ? before : last_ready_;
}

void Scheduler::take_from_ready(const Thread& thread) {
  for (Vcpu& vcpu : vcpus_) {
    if (vcpu.assigned == &thread) {
      vcpu.assigned = nullptr;
      return;
    }
  }
  Thread* before = nullptr;
  for (Thread* at = first_ready_; at != nullptr; before = at, at = at->next) {
    if (at == &thread) {
      unlink(before, thread);
      return;
    }
  }
}

bool Scheduler::may_run(const Thread& thread, const Vcpu& there) const {
  const Vcpu& last = vcpus_[thread.vcpu];
  if (last.running == &thread && &last != &there) {
    return false; // that one rests on its stack
  }
  return std::ranges::all_of(vcpus_, [&](const Vcpu& other) {
    const Thread* const runs = other.rests ? other.assigned : other.running;
    return &other == &there || runs == nullptr || runs->process == thread.process;
  });
}

void Scheduler::give(Vcpu& vcpu, Thread& thread) {
  vcpu.assigned = &thread;
  if (&vcpu != here_) {
    machine_.call(vcpu.index);
  }
}

// A thread goes where it ran last, if that is free.
void Scheduler::hand_out() {
  if (vcpus_.size() == 1) {
    return;
  }
  const auto takes = [this](const Vcpu& vcpu, const Thread& thread) {
    return vcpu.rests && vcpu.assigned == nullptr && may_run(thread, vcpu);
  };
  assert(here_->assigned == nullptr || here_->rests);
  Thread* before = nullptr;
  for (Thread* at = first_ready_; at != nullptr;) {
    Vcpu* to = takes(vcpus_[at->vcpu], *at) ? &vcpus_[at->vcpu]
               : takes(*here_, *at)         ? here_
                                            : nullptr;
    for (auto other = vcpus_.begin(); to == nullptr && other != vcpus_.end(); ++other) {
      to = takes(*other, *at) ? &*other : nullptr;
    }
    if (to == nullptr) {
      if (blocks_queue(*at)) {
        return;
      }
      before = std::exchange(at, at->next);
      continue;
    }
    Thread& thread = *std::exchange(at, at->next);
    unlink(before, thread);
    give(*to, thread);
  }
}

Thread* Scheduler::take_ready() {
  if (here_->assigned != nullptr) {
    return std::exchange(here_->assigned, nullptr);
  }
  Thread* const next = take_from_queue();
  return next != nullptr ? next : take_from_others();
}

// One that has waited for a slice for another process's threads: if nobody passes it, these come to
// an end one by one.
bool Scheduler::blocks_queue(const Thread& thread) const {
  const bool is_bound = vcpus_[thread.vcpu].running == &thread;
  return !is_bound && machine_.now_ns() - thread.ready_since_ns >= owner_.slice_ns();
}

Thread* Scheduler::take_from_queue() {
  Thread* before = nullptr;
  for (Thread* at = first_ready_; at != nullptr; before = std::exchange(at, at->next)) {
    if (may_run(*at, *here_)) {
      unlink(before, *at);
      return at;
    }
    if (blocks_queue(*at)) {
      return nullptr;
    }
  }
  return nullptr;
}

Thread* Scheduler::take_from_others() {
  for (Vcpu& other : vcpus_) {
    Thread* const thread = other.assigned;
    if (&other != here_ && thread != nullptr && vcpus_[thread->vcpu].running != thread) {
      other.assigned = nullptr;
      return thread;
    }
  }
  return nullptr;
}

void Scheduler::hold(Thread& thread) {
  if (!thread.is_held && thread.state == Thread::State::ready) {
    take_from_ready(thread);
  }
  thread.is_held = true;
  if (thread.state == Thread::State::running && &vcpus_[thread.vcpu] != here_) {
    machine_.call(thread.vcpu);
  }
}

void Scheduler::release(Thread& thread) {
  if (std::exchange(thread.is_held, false) && thread.state == Thread::State::ready) {
    make_ready(thread);
  }
}

void Scheduler::rest_if_held() {
  if (running().is_held && running().state == Thread::State::running) {
    running().state = Thread::State::ready;
    go_to_next();
  }
}

// ---- waiting -----------------------------------------------------------------------------------

void Scheduler::wait_until_ns(std::uint64_t deadline, Wakes wakes) {
  Thread& self = running();
  self.state = Thread::State::waiting;
  self.deadline_ns = deadline;
  self.watches = wakes == Wakes::by_any_files;
  watchers_ += self.watches ? 1 : 0;
  sleepers_until_ns_ = std::min(sleepers_until_ns_, deadline);
  go_to_next();
}

void Scheduler::wake(Thread& thread) {
  if (thread.state == Thread::State::running && &vcpus_[thread.vcpu] != here_) {
    machine_.call(thread.vcpu);
  }
  if (thread.state != Thread::State::waiting) {
    return;
  }
  watchers_ -= thread.watches ? 1 : 0;
  thread.watches = false;
  thread.deadline_ns = Machine::never;
  make_ready(thread);
}

void Scheduler::wake_watchers() {
  for (const auto& thread : threads_) {
    if (thread->watches) {
      wake(*thread);
    }
  }
}

std::uint64_t Scheduler::earliest_deadline_ns() const {
  std::uint64_t earliest = Machine::never;
  for (const auto& thread : threads_) {
    earliest = std::min(earliest, thread->deadline_ns);
  }
  return earliest;
}

void Scheduler::wake_sleepers() {
  if (sleepers_until_ns_ == Machine::never) {
    return;
  }
  const std::uint64_t now = machine_.now_ns();
  if (now < sleepers_until_ns_) {
    return;
  }
  for (const auto& thread : threads_) {
    if (thread->deadline_ns <= now) {
      wake(*thread);
    }
  }
  sleepers_until_ns_ = earliest_deadline_ns();
}

// ---- running -----------------------------------------------------------------------------------

std::uint64_t Scheduler::call_overdue() {
  std::uint64_t next_ns = Machine::never;
  if (!is_shared() || vcpus_.size() == 1) {
    return next_ns;
  }
  const std::uint64_t now_ns = machine_.now_ns();
  for (const Vcpu& other : vcpus_) {
    if (&other == here_ || other.rests) {
      continue;
    }
    const std::uint64_t over_ns = other.runs_since_ns + owner_.slice_ns();
    if (over_ns <= now_ns) {
      machine_.call(other.index);
    }
    next_ns = std::min(next_ns, std::max(over_ns, now_ns + owner_.slice_ns()));
  }
  return next_ns;
}

void Scheduler::go_to_next() {
  if (!here_->rests) {
    running().used_ns += machine_.now_ns() - here_->runs_since_ns;
    here_->rests = true;
  }
  for (;;) {
    wake_sleepers();
    if (Thread* const next = take_ready()) {
      run(*next);
      return;
    }
    hand_out(); // who could not run beside the one that ran here
    sleepers_until_ns_ = earliest_deadline_ns();
    owner_.idle_until_ns(std::min(sleepers_until_ns_, call_overdue()));
  }
}

void Scheduler::run(Thread& next) {
  Thread* const before = here_->running;
  next.state = Thread::State::running;
  next.vcpu = here_->index;
  here_->runs_since_ns = machine_.now_ns();
  here_->running = &next;
  here_->rests = false;
  if (&next != before || vcpus_.size() != 1) {
    owner_.enter(next); // others may have been there meanwhile
    hand_out();
  }
  if (&next != before) {
    contexts_.change(before == nullptr ? *here_->home : *before->context, *next.context);
    arrive();
  }
}

void Scheduler::yield() {
  if (is_shared()) {
    enqueue(running());
    go_to_next();
  }
}

void Scheduler::end_running() {
  Thread& self = running();
  self.state = Thread::State::ended;
  const auto ended = std::ranges::find(threads_, &self, &std::unique_ptr<Thread>::get);
  assert(ended != threads_.end() && threads_.size() > 1);
  here_->ended.push_back(std::move(*ended));
  threads_.erase(ended);
  go_to_next();
}

void Scheduler::tick() {
  wake_sleepers();
  rest_if_held();
  if (!is_shared()) {
    return;
  }
  call_overdue();
  if (machine_.now_ns() - here_->runs_since_ns >= owner_.slice_ns()) {
    yield();
  }
}

std::uint64_t Scheduler::next_tick_ns() const {
  return std::min(sleepers_until_ns_,
                  is_shared() ? here_->runs_since_ns + owner_.slice_ns() : Machine::never);
}

} // namespace guest::linux
