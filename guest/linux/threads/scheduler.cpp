// SPDX-License-Identifier: MIT
#include "guest/linux/threads/scheduler.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace guest::linux {

Scheduler::Scheduler(Machine& machine, Contexts& contexts, ThreadOwner& owner,
                     std::unique_ptr<Thread> first)
    : machine_(machine), contexts_(contexts), owner_(owner), running_(first.get()),
      runs_since_ns_(machine.now_ns()) {
  first->state = Thread::State::running;
  threads_.push_back(std::move(first));
}

Thread* Scheduler::find(std::int64_t id) const {
  const auto found =
      std::ranges::find_if(threads_, [id](const auto& thread) { return thread->id == id; });
  return found == threads_.end() ? nullptr : found->get();
}

std::uint64_t Scheduler::used_ns(const Thread& thread) const {
  const bool runs = &thread == running_ && thread.state == Thread::State::running;
  return thread.used_ns + (runs ? machine_.now_ns() - runs_since_ns_ : 0);
}

void Scheduler::add(std::unique_ptr<Thread> thread) {
  make_ready(*thread);
  threads_.push_back(std::move(thread));
}

void Scheduler::make_ready(Thread& thread) {
  thread.state = Thread::State::ready;
  thread.next = nullptr;
  if (thread.is_held) {
    return;
  }
  (last_ready_ == nullptr ? first_ready_ : last_ready_->next) = &thread;
  last_ready_ = &thread;
}

Thread* Scheduler::take_ready() {
  Thread* const first = first_ready_;
  if (first != nullptr) {
    first_ready_ = first->next;
    last_ready_ = first_ready_ == nullptr ? nullptr : last_ready_;
  }
  return first;
}

void Scheduler::take_from_ready(const Thread& thread) {
  Thread* before = nullptr;
  for (Thread* at = first_ready_; at != nullptr; before = at, at = at->next) {
    if (at == &thread) {
      (before == nullptr ? first_ready_ : before->next) = at->next;
      last_ready_ = last_ready_ == at ? before : last_ready_;
      return;
    }
  }
}

void Scheduler::hold(Thread& thread) {
  if (!thread.is_held && thread.state == Thread::State::ready) {
    take_from_ready(thread);
  }
  thread.is_held = true;
}

void Scheduler::release(Thread& thread) {
  if (std::exchange(thread.is_held, false) && thread.state == Thread::State::ready) {
    make_ready(thread);
  }
}

void Scheduler::rest_if_held() {
  if (running_->is_held && running_->state == Thread::State::running) {
    make_ready(*running_);
    go_to_next();
  }
}

// ---- waiting -----------------------------------------------------------------------------------

void Scheduler::wait_until_ns(std::uint64_t deadline, Wakes wakes) {
  Thread& self = *running_;
  self.state = Thread::State::waiting;
  self.deadline_ns = deadline;
  self.watches = wakes == Wakes::by_any_files;
  watchers_ += self.watches ? 1 : 0;
  sleepers_until_ns_ = std::min(sleepers_until_ns_, deadline);
  go_to_next();
}

void Scheduler::wake(Thread& thread) {
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

void Scheduler::go_to_next() {
  running_->used_ns += machine_.now_ns() - runs_since_ns_;
  for (;;) {
    wake_sleepers();
    if (Thread* const next = take_ready()) {
      run(*next);
      return;
    }
    sleepers_until_ns_ = earliest_deadline_ns();
    owner_.idle_until_ns(sleepers_until_ns_);
  }
}

void Scheduler::run(Thread& next) {
  Thread& before = *running_;
  next.state = Thread::State::running;
  runs_since_ns_ = machine_.now_ns();
  running_ = &next;
  if (&next != &before) {
    owner_.enter(next);
    contexts_.change(*before.context, *next.context);
    arrive();
  }
}

void Scheduler::yield() {
  if (is_shared()) {
    make_ready(*running_);
    go_to_next();
  }
}

void Scheduler::end_running() {
  running_->state = Thread::State::ended;
  const auto ended = std::ranges::find(threads_, running_, &std::unique_ptr<Thread>::get);
  assert(ended != threads_.end() && threads_.size() > 1);
  ended_.push_back(std::move(*ended));
  threads_.erase(ended);
  go_to_next();
}

void Scheduler::tick() {
  wake_sleepers();
  if (is_shared() && machine_.now_ns() - runs_since_ns_ >= owner_.slice_ns()) {
    yield();
  }
}

std::uint64_t Scheduler::next_tick_ns() const {
  return std::min(sleepers_until_ns_,
                  is_shared() ? runs_since_ns_ + owner_.slice_ns() : Machine::never);
}

} // namespace guest::linux
